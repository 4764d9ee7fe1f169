"""Recorded machines from first boot on: what their IMA lists make of their verdicts, through `learn` and `verify`."""

from __future__ import annotations

import datetime
import shutil
from pathlib import Path

import pytest
from conftest import hash_of, shared
from ima_by_hand import a_digest, data_of, entry, walk
from ima_evidence import HONEST, VIOLATION
from ima_evidence import LOG as HONEST_LOG

from pyverify import Evidence, Policy, Store, verify
from pyverify.evidence.bundle import ImaList
from pyverify.fleet.learn import learn
from pyverify.fleet.sources import open_source

POLICY = Policy.preset("log-only")
NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
LIST = "binary_runtime_measurements"


def recording(number: str) -> Path:
    return next(shared("recordings").glob(f"{number}_*"))


def learned(folder: Path, number: str):
    """The references after machine ``m`` was learned from one recorded boot."""
    place = folder / "archive" / "m" / number
    place.mkdir(parents=True)
    shutil.copy(recording(number) / "binary_bios_measurements", place)
    shutil.copy(recording(number) / "ima" / LIST, place)
    with Store.open(str(folder / "s.db"), create=True) as store:
        (result,) = learn(open_source(folder / "archive"), store, policy=POLICY, activate=True, as_of=NOW)
        assert not result.reasons
        return store.references()


def boot(references, number: str, list_of: str | None = None):
    log = (recording(number) / "binary_bios_measurements").read_bytes()
    data = (recording(list_of or number) / "ima" / LIST).read_bytes()
    evidence = Evidence("m", number, event_log=log, ima=[ImaList("binary", data)])
    return verify(evidence, references=references, policy=POLICY, as_of=NOW)


def ima(verdict):
    """(code, name or first word of the hint) of the findings of the list."""
    return [(f.code, f.hint.split(": ")[0]) for f in verdict.findings if f.code.startswith("ima.")]


@pytest.fixture(scope="module")
def m1(tmp_path_factory):
    return learned(tmp_path_factory.mktemp("m1"), "01")


@pytest.mark.parametrize("number", ["01", "02", "03", "04", "05", "40", "41"])
def test_reboots_run_what_was_learned(m1, number):
    verdict = boot(m1, number)
    assert (verdict.outcome.value, ima(verdict)) == ("trusted", [])
    assert set(dict(verdict.stages).values()) == {"green"}


def test_a_program_that_ran_for_the_first_time_is_named(m1):
    verdict = boot(m1, "23")
    assert (verdict.outcome.value, ima(verdict)) == ("untrusted", [("ima.added", "/usr/bin/setfattr")])
    assert dict(verdict.stages) == {**dict.fromkeys(dict(verdict.stages), "green"), "applications": "red"}


def test_a_program_that_was_tampered_with_is_named_with_both_digests(tmp_path):
    ran = learned(tmp_path, "23")
    assert boot(ran, "23").trusted
    assert boot(ran, "02").trusted  # that it did not run is nothing
    verdict = boot(ran, "24")
    assert (verdict.outcome.value, ima(verdict)) == ("untrusted", [("ima.changed", "/usr/bin/setfattr")])
    finding = next(f for f in verdict.findings if f.code == "ima.changed")
    lines = {n: (recording(n) / "ima" / "ascii_runtime_measurements").read_text().splitlines() for n in ("23", "24")}
    texts = [next(line.split() for line in lines[n] if " /usr/bin/setfattr" in line) for n in ("23", "24")]
    assert [f"sha256:{d.hex()}" for d in (finding.expected, finding.actual)] == [text[3] for text in texts]
    assert lines["24"][finding.event].split() == texts[1]


def test_what_an_attacker_runs_is_named(m1):
    assert ima(boot(m1, "25")) == [("ima.added", "/usr/bin/dropper")]
    late = [("ima.added", f"/usr/bin/late{i}") for i in range(1, 6)]
    assert ima(boot(m1, "27")) == late
    long = boot(m1, "28")
    assert [code for code, _ in ima(long)] == ["ima.added"] * 100
    assert "and 500 more entries like it" in long.findings[-1].hint or "and 500" in str(long.findings)


def test_violations_are_high_unless_they_were_learned(m1, tmp_path):
    verdict = boot(m1, "26")
    assert verdict.outcome.value == "untrusted"
    assert [code for code, _ in ima(verdict)] == ["ima.violation", "ima.added", "ima.added"]
    assert {name for _, name in ima(verdict)[1:]} == {"/etc/victim", "/etc/victim2"}
    known = learned(tmp_path, "26")
    assert known.ima_violations.tolist() == [2]
    again = boot(known, "26")
    assert (again.outcome.value, [(f.code, f.severity.value) for f in again.findings if f.code == "ima.violation"]) == (
        "trusted",
        [("ima.violation", "warning")],
    )


def test_the_list_of_another_boot_does_not_fit_the_log(m1):
    assert ima(boot(m1, "02", list_of="09"))[0] == (
        "ima.boot-aggregate",
        "boot_aggregate is not the hash of the PCRs that the event log leads to",
    )


def test_a_template_that_shows_more_or_less_of_the_same_files_is_fine(m1):
    """The command line names the template, so PCR 8 differs; the files are those that were learned."""
    for number in ("29", "30", "35"):
        verdict = boot(m1, number)
        assert ima(verdict) == []
        assert verdict.outcome.value == "untrusted"
    by_sha1 = [code for code, _ in ima(boot(m1, "32"))]
    assert by_sha1[0] == "ima.weak-hash"
    assert set(by_sha1[1:]) == {"ima.changed"}
    assert ima(boot(m1, "34")) == [("ima.added", "kernel_version")]


def test_a_kernel_upgrade_shows_its_modules(m1):
    found = ima(boot(m1, "10"))
    assert found
    assert {code for code, _ in found} == {"ima.changed"}
    assert all(name.startswith("/lib/modules/") and name.endswith(".ko") for _, name in found)


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    return learned(tmp_path_factory.mktemp("debian"), "91")


def test_a_whole_debian_runs_the_same_in_another_order_and_number(debian):
    orders = [[message for *_, message in walk((recording(n) / "ima" / LIST).read_bytes())] for n in ("91", "92")]
    assert len(orders[0]) == 373
    assert len(orders[1]) == 371
    assert [m for m in orders[0] if m in orders[1]] != [m for m in orders[1] if m in orders[0]]
    verdict = boot(debian, "92")
    assert (verdict.outcome.value, ima(verdict)) == ("trusted", [])


UPGRADED = [
    "/usr/lib/x86_64-linux-gnu/libcrypto.so.3",
    "/usr/lib/x86_64-linux-gnu/liblzma.so.5.4.1",
    "/usr/lib/x86_64-linux-gnu/libpcre2-8.so.0.11.2",
    "/usr/sbin/rsyslogd",
    "/usr/lib/x86_64-linux-gnu/libexpat.so.1.8.10",
    "/usr/lib/x86_64-linux-gnu/rsyslog/lmnet.so",
    "/usr/lib/x86_64-linux-gnu/rsyslog/imuxsock.so",
    "/usr/lib/x86_64-linux-gnu/rsyslog/imklog.so",
    "/usr/lib/x86_64-linux-gnu/libssh2.so.1.0.1",
    "/usr/lib/x86_64-linux-gnu/libbrotlidec.so.1.0.9",
    "/usr/lib/x86_64-linux-gnu/libsasl2.so.2.0.25",
    "/usr/lib/x86_64-linux-gnu/libbrotlicommon.so.1.0.9",
]


def test_a_package_upgrade_is_a_list_of_changed_files(debian):
    verdict = boot(debian, "93")
    assert ima(verdict) == [("ima.changed", name) for name in UPGRADED]
    assert dict(verdict.stages)["applications"] == "red"


# Learning.


def learn_from(folder: Path, boots):
    """What becomes of machines that send these lists: {machine: list or None}."""
    for machine, data in boots.items():
        place = folder / machine / "1"
        place.mkdir(parents=True)
        (place / "binary_bios_measurements").write_bytes(HONEST_LOG)
        if data is not None:
            (place / LIST).write_bytes(data)
    with Store.open(str(folder / "s.db"), create=True) as store:
        results = {
            one.machine: [f.code for f in one.reasons]
            for one in learn(open_source(folder), store, policy=POLICY, activate=True, as_of=NOW)
        }
        return results, store.references()


def test_a_first_boot_with_anything_high_against_its_list_is_refused(tmp_path):
    results, references = learn_from(
        tmp_path,
        {
            "good": HONEST,
            "forged": HONEST + entry(data_of("/bin/d", a_digest(1)), shown=hash_of("sha1", b"x")),
            "foreign": entry(data_of("boot_aggregate", a_digest(1))),
            "kexec": HONEST + entry(data_of("boot_aggregate", a_digest(1))),
            "cut": HONEST[:-1],
        },
    )
    assert results == {
        "good": [],
        "forged": ["ima.template-mismatch"],
        "foreign": ["ima.boot-aggregate"],
        "kexec": ["ima.kexec"],
        "cut": ["ima.truncated"],
    }
    assert references.columns.field("id").to_pylist() == ["good"]


def test_what_is_learned_of_a_list(tmp_path):
    results, references = learn_from(
        tmp_path, {"a-list": HONEST, "b-violation": HONEST + VIOLATION, "c-none": None, "d-empty": b""}
    )
    assert not any(results.values())
    sets = references.ima_set.tolist()
    assert sets[0] == sets[1]
    assert sets[2] == sets[3] != sets[0]  # an empty list is none
    assert references.ima_violations.tolist() == [0, 1, 0, 0]
    assert [one.path for one in references.ima.set(sets[0])] == [b"/bin/a", b"/bin/b", b"/bin/c"]


def test_a_thousand_machines_are_learned_once_what_they_share(tmp_path):
    lists = [HONEST + entry(data_of(f"/etc/{i % 7}", a_digest(i % 7))) for i in range(1000)]
    results, references = learn_from(tmp_path, {f"m{i:04}": data for i, data in enumerate(lists)})
    assert len(results) == 1000
    assert not any(results.values())
    assert len(references.ima) == 7
    assert len(set(references.ima_set.tolist())) == 7
