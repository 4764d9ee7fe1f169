"""Cohorts of archives: recorded machines in the groups that their recordings say, and fleets that repeat."""

from __future__ import annotations

import json
import random
import struct
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import DATA, entry, hash_of, shared, small_log, spec_id
from hypothesis import given, settings
from hypothesis import strategies as st
from log_editor import Log
from source_archives import make
from test_ccel import ccel
from test_cohorts_normal import ONE, OTHER, with_text
from test_learn import lay_out

from pyverify import ArchiveError, UsageError
from pyverify.evidence.columns import evidence_schema
from pyverify.fleet import boot_variants as module
from pyverify.fleet.closest_cohort import Matcher
from pyverify.fleet.cohort_words import CohortWords
from pyverify.fleet.cohorts import group
from pyverify.fleet.sources import open_source

BANKS = ["sha1", "sha256"]
GRUB = Log.parse((DATA / "logs" / "60_sb_first_boot.bin").read_bytes())

RECORDED = (
    # One image (scenario.json: firmware, kernel, command line, files of the ESP). Removable path: PCR 1 only. Banks
    # differ; SHA-384 alone is the class of those that have it too. 87 is this kernel on a TPM that has SM3.
    "01 02 03 04 05 07 08 40 41 45 47 48 49 51 53 54 55 87",
    "09",  # more memory is in PCR 0 (recordings/README.md, what surprised, 4)
    *("10", "11", "12"),  # kernels
    *("14", "15"),  # command lines
    *("16", "18", "19", "20"),  # initramfs, grub.cfg, shim, GRUB
    *("42", "43"),  # firmware builds
    "60 61",  # Secure Boot
    *("62", "63", "65", "68"),  # with another grub.cfg, dbx, MOK; switched off
    *("70", "71", "73", "74", "76"),  # unified kernel images, systemd-boot, own keys, no boot loader
    "80 81 82 83 88",  # kernel with SM3: all banks, SM3 alone, and beside SHA-256
    "84",  # its command line changed
)
"""Numbers of recordings, those of a line being one kind of machine, from README.md and scenario.json."""


def rows(machines, **fields):
    """{machine: log} as rows of evidence; ``fields`` are by machine."""
    return [
        {"machine": name, "boot": "1", "boot_seq": 1, "event_log": log}
        | {key: values.get(name) for key, values in fields.items()}
        for name, log in machines.items()
    ]


def archive(path, evidence):
    schema = evidence_schema()
    pq.write_table(pa.Table.from_pylist([{n: r.get(n) for n in schema.names} for r in evidence], schema), path)
    return open_source(path)


def sets(found):
    return {frozenset(cohort.machines) for cohort in found.cohorts}


def ids(found):
    return {cohort.id: cohort.machines for cohort in found.cohorts}


def recorded():
    folder = shared("recordings")
    return {
        path.parent.name[:2]: path.read_bytes()
        for path in sorted(folder.glob("*/binary_bios_measurements"))
        if path.parent.name[:2] in " ".join(RECORDED).split()
    }


def test_recorded_machines_are_grouped_as_they_were_recorded(tmp_path):
    with group(archive(tmp_path / "a", rows(recorded()))) as found:
        assert sets(found) == {frozenset(line.split()) for line in RECORDED}
        sizes = [len(cohort.machines) for cohort in found.cohorts]
        assert sizes == sorted(sizes)
        assert sizes[0] == 1
        assert sizes[-1] == 18
        assert found.n_machines == sum(sizes)
        assert not found.left_out


def test_machines_are_of_one_cohort_where_their_tpms_say_so(tmp_path):
    """The TPM's own values of the PCRs that count, in SHA-256, without a look at any log."""
    folder = shared("recordings")
    values = {}
    for path in folder.glob("*/scenario.json"):
        pcrs = (json.loads(path.read_text()).get("pcrs") or {}).get("sha256")
        number = path.parent.name[:2]
        # 22 sent no log; 37 and 39 extended PCRs that their logs do not tell of.
        if pcrs and number not in ("22", "37", "39"):
            values[number] = tuple(pcrs[str(pcr)] for pcr in (0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14))
    logs = {
        path.parent.name[:2]: path.read_bytes()
        for path in folder.glob("*/binary_bios_measurements")
        if path.parent.name[:2] in values
    }
    expected = {frozenset(name for name in logs if values[name] == value) for value in values.values()}
    with group(archive(tmp_path / "a", rows(logs))) as found:
        assert sets(found) == expected
        assert len(expected) > 25


def test_ids_do_not_hang_on_the_order_of_an_archive_or_what_else_is_in_it(tmp_path):
    machines = {
        "a": GRUB.bytes(),
        "b": with_text(GRUB, f"root=UUID={ONE}").bytes(),
        "c": with_text(GRUB, f"root=UUID={OTHER}").bytes(),
        "d": small_log(BANKS),
        "e": small_log(["sha256"]),
    }
    with group(archive(tmp_path / "all", rows(machines))) as found:
        expected = ids(found)
    assert sorted(expected.values()) == [("a",), ("b", "c"), ("d", "e")]
    for seed in range(3):
        shuffled = rows(machines)
        random.Random(seed).shuffle(shuffled)
        with group(archive(tmp_path / str(seed), shuffled), jobs=1) as found:
            assert ids(found) == expected
    with group(archive(tmp_path / "some", rows({"x": machines["c"], "y": machines["e"]}))) as found:
        assert {key: len(names) for key, names in ids(found).items()} == {
            key: 1 for key, names in expected.items() if names != ("a",)
        }


def test_what_one_log_says_of_equal_events_does_not_hang_on_the_order(tmp_path):
    """Equal digests, one log with a text that they do not prove: one variant, and always the same log speaks for it."""
    honest = with_text(GRUB, f"root=UUID={ONE}")
    other = honest.copy()
    place = other.find(8, 0xD, ONE.encode())
    other[place].data = other[place].data.replace(ONE.encode(), OTHER.encode())
    found_ids = []
    for number, logs in enumerate(([honest, other], [other, honest])):
        evidence = rows({str(i): log.bytes() for i, log in enumerate(logs)})
        with group(archive(tmp_path / str(number), evidence)) as found:
            assert (found.n_variants, len(found.cohorts)) == (1, 1)
            found_ids.append(found.cohorts[0].id)
    assert found_ids[0] == found_ids[1]


def test_only_what_differs_is_normalised(tmp_path, monkeypatch):
    """5,000 machines of three kinds, each with boot variables of its own."""
    normalised = []

    def counted(scanned, of_registers):
        normalised.append(len(of_registers))
        return real(scanned, of_registers)

    real = module.normalise
    monkeypatch.setattr(module, "normalise", counted)
    kinds = [small_log(BANKS, command_line=text) for text in (b"quiet", b"root=UUID=" + ONE.encode(), b"init=/bin/sh")]
    machines = {}
    for number in range(5000):
        own = entry(1, 0x80000002, struct.pack("<I", number), BANKS)
        machines[f"m{number:04}"] = kinds[2 if number == 77 else number % 2] + own
    with group(archive(tmp_path / "a", rows(machines))) as found:
        assert sum(normalised) == found.n_variants == 3
        assert [len(cohort.machines) for cohort in found.cohorts] == [1, 2499, 2500]
        assert found.cohorts[0].machines == ("m0077",)
        assert found.cohort("m0078") is found.cohorts[2]


def test_variants_of_a_cohort_are_counted(tmp_path):
    machines = {str(n): with_text(GRUB, f"root=UUID={n:08x}{ONE[8:]}").bytes() for n in range(40)}
    machines["evil"] = with_text(GRUB, f"root=UUID={ONE} init=/bin/sh").bytes()
    with group(archive(tmp_path / "a", rows(machines))) as found:
        assert [(len(c.machines), c.variants) for c in found.cohorts] == [(1, 1), (40, 40)]


def test_the_newest_boot_of_a_machine_counts(tmp_path):
    old, new_ = small_log(BANKS, command_line=b"old"), small_log(BANKS, command_line=b"new")
    boots = {
        ("a", "1"): (old, {"boot_seq": 1}),
        ("a", "2"): (new_, {"boot_seq": 2}),
        ("b", "1"): (new_, {"boot_seq": 9}),
        ("b", "2"): (old, {"boot_seq": 8}),
        ("c", "1"): (old, {"collected_at": "2026-01-01T00:00:00Z"}),
        ("c", "2"): (new_, {"collected_at": "2026-02-01T00:00:00Z"}),
        ("d", "b1"): (old, None),
        ("d", "b2"): (new_, None),
    }
    with group(lay_out(tmp_path / "archive", boots)) as found:
        assert sets(found) == {frozenset("abcd")}


def test_machines_of_other_banks_join_those_that_have_theirs(tmp_path):
    machines = {
        "both": small_log(["sha256", "sm3_256"]),
        "sha256": small_log(["sha256"]),
        "sm3": small_log(["sm3_256"]),
        "sm3+sha1": small_log(["sm3_256", "sha1"]),
        "sha1": small_log(["sha1"]),
        "sha384": small_log(["sha384"]),  # nobody who has it has another
        "other": small_log(["sm3_256"], command_line=b"evil"),
    }
    machines = {name.replace("+", "-"): log for name, log in machines.items()}
    with group(archive(tmp_path / "a", rows(machines))) as found:
        joined = frozenset({"both", "sha256", "sm3", "sm3-sha1", "sha1"})
        assert sets(found) == {joined, frozenset({"sha384"}), frozenset({"other"})}
        assert found.cohort("both").bank == "sha256"
        assert found.cohort("sha384").bank == "sha384"


def test_a_log_whose_banks_contradict_each_other_joins_nobody(tmp_path):
    """SHA-256 of an evil boot and SM3 of a good one: machines with SM3 alone do not take it for one of theirs."""
    banks = ["sha256", "sm3_256"]
    good = Log.parse(small_log(banks))
    forged = good.copy()
    place = forged.find(8)
    forged[place] = forged[place].with_digest("sha256", hash_of("sha256", b"init=/bin/sh"))
    machines = {"good": good.bytes(), "forged": forged.bytes(), "sm3": small_log(["sm3_256"])}
    with group(archive(tmp_path / "a", rows(machines))) as found:
        assert sets(found) == {frozenset({"good"}), frozenset({"forged"}), frozenset({"sm3"})}


def test_every_kind_of_log_is_grouped(tmp_path):
    from cel_writers import cel_json, cel_tlv, systemd_record
    from log_editor import events_of

    log = small_log(["sha256"])
    events = events_of(log)[1:]
    td = [ccel(entry(3, 0xD, b"kernel", ["sha384"]), entry(2, 0x80000006, bytes([n]) * 10, ["sha384"])) for n in (1, 2)]
    machines = {
        "tcg": log,
        "tlv": cel_tlv(events),
        "json": cel_json(events),
        "systemd": log,
        "td1": td[0],
        "td2": td[0],
        "td3": td[1],
    }
    kinds = {"tcg": "tcg", "tlv": "cel-tlv", "json": "cel-json", "td1": "ccel", "td2": "ccel", "td3": "ccel"}
    phases = systemd_record(11, "enter-initrd", ["sha256"]) + systemd_record(15, "machine-id:" + "0" * 32, ["sha256"])
    evidence = rows(machines, event_log_kind=kinds, userspace_log={"systemd": phases})
    with group(archive(tmp_path / "a", evidence)) as found:
        assert not found.left_out
        assert sets(found) == {
            frozenset({"tcg", "tlv", "json", "systemd"}),
            frozenset({"td1", "td2"}),
            frozenset({"td3"}),
        }
        words = [CohortWords.of(found.boot(found.variant(name)), "sha384").line() for name in ("td1", "td3")]
        assert all("measurement registers" in line for line in words)


def test_what_cannot_be_grouped_is_told_with_its_reason(tmp_path):
    log = small_log(BANKS)
    parsed = Log.parse(log)
    del parsed[1].digests["sha1"], parsed[2].digests["sha256"]
    evidence = rows(
        {
            "good": log,
            "none": None,
            "empty": b"",
            "cut": log[:-1],
            "text": b"hello" * 30,
            "bare": spec_id(BANKS),
            "kind": log,
            "broken": log,
            "no-bank": parsed.bytes(),
            "bad name": log,
        },
        event_log_kind={"kind": "cbor"},
        userspace_log={"broken": b"\x1ehello"},
    )
    evidence.append({"machine": None, "boot": "1", "event_log": log})
    evidence.append({"machine": "twice", "boot": "1", "boot_seq": 1, "event_log": log})
    evidence.append({"machine": "twice", "boot": "2", "boot_seq": 2, "event_log": log[:-1]})
    with group(archive(tmp_path / "a", evidence)) as found:
        assert sets(found) == {frozenset({"good"})}
        assert {(item.machine, item.reason.code) for item in found.left_out} == {
            ("none", "log.absent"),
            ("empty", "log.absent"),
            ("cut", "log.truncated"),
            ("text", "log.not-a-log"),
            ("bare", "bank.unextended"),
            ("kind", "log.not-a-log"),
            ("broken", "cel.format"),
            ("no-bank", "bank.missing"),
            ("bad name", "evidence.name"),
            (None, "evidence.name"),
            ("twice", "log.truncated"),  # an older boot does not stand in for it
        }
        assert all(item.reason.hint for item in found.left_out)
        with pytest.raises(UsageError, match=r"log\.truncated"):
            found.cohort("twice")
        with pytest.raises(UsageError, match="not in this archive"):
            found.cohort("nobody")


def test_a_machine_that_is_gone_when_it_is_read_is_told(tmp_path):
    source = archive(tmp_path / "a", rows({"a": small_log(BANKS), "b": small_log(BANKS)}))

    class Changed:
        total = 2

        def progress(self):
            return source.progress()

        def batches(self, *, columns=None, **options):
            for batch in source.batches(columns=columns, **options):
                yield batch if columns else batch.slice(0, 1)

    with group(Changed()) as found:
        assert sets(found) == {frozenset({"a"})}
        (item,) = found.left_out
        assert (item.machine, item.reason.code) == ("b", "evidence.unreadable")


def test_an_archive_that_breaks_off_is_an_error(tmp_path):
    lay_out(tmp_path / "folder", {(f"m{n}", "1"): (small_log(BANKS), None) for n in range(20)})
    import tarfile

    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        tar.add(tmp_path / "folder", "fleet")
    data = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2 + 100])
    with pytest.raises(ArchiveError):
        group(open_source(tmp_path / "cut.tar"))


def test_an_empty_archive_has_no_cohorts(tmp_path):
    with group(archive(tmp_path / "a", [])) as found:
        assert (found.cohorts, found.left_out, found.n_machines) == ((), (), 0)
        Matcher(found)


def test_registers_and_pcrs_of_one_number_are_not_mixed_up(tmp_path):
    log = ccel(entry(2, 0xD, b"x", ["sha384"]), entry(3, 0xD, b"y", ["sha384"]))
    machines = {"td": log, "tpm": bytes(4) + log[4:]}
    with group(archive(tmp_path / "a", rows(machines, event_log_kind={"td": "ccel"}))) as found:
        assert sets(found) == {frozenset({"td"}), frozenset({"tpm"})}


@pytest.mark.parametrize("kind", ["folder", "tar", "zst", "zip", "parquet"])
def test_archives_of_every_kind_have_the_same_cohorts(tmp_path, kind):
    logs = {"m1": small_log(BANKS), "m2": small_log(BANKS), "m3": GRUB.bytes()}
    tree = {f"{machine}/b1": {"binary_bios_measurements": log} for machine, log in logs.items()}
    with group(open_source(make(kind, tmp_path, tree))) as found, group(archive(tmp_path / "b", rows(logs))) as same:
        assert ids(found) == ids(same)
        assert len(found.cohorts) == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 23), st.sampled_from([3, 4, 5, 6, 0xD]), st.binary(max_size=60)), max_size=8))
def test_no_log_is_too_odd_to_be_grouped_and_told_of(events):
    base = small_log(BANKS)
    odd = base + b"".join(
        entry(pcr, 0x80000001 + kind if data[:1] > b"\x80" else kind, data, BANKS) for pcr, kind, data in events
    )
    with tempfile.TemporaryDirectory() as folder:
        evidence = rows({"base": base, "odd": odd, "again": odd})
        with group(archive(Path(folder) / "a", evidence), jobs=1) as found:
            assert found.cohort("odd") is found.cohort("again")
            told = {pcr for pcr, kind, data in events if not (kind == 3 and data[:1] <= b"\x80")}
            assert (found.cohort("odd") is found.cohort("base")) == (not told & {0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14})
            match = Matcher(found).closest(found.variant("odd"), found.cohort("odd"))
            words = [CohortWords.of(found.boot(found.variant("odd")), "sha256").line()]
            words += [difference.words for difference in match.differences] if match else []
            assert all(line.isprintable() for line in words)


def test_logs_past_the_memory_are_read_back(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_IN_MEMORY", 10_000)
    monkeypatch.setattr(module, "_TILE_BYTES", 3_000)
    machines = {f"m{n}": small_log(BANKS, command_line=str(n).encode()) for n in range(60)}
    with group(archive(tmp_path / "a", rows(machines))) as found:
        assert len(found.cohorts) == 60
        for name, log in machines.items():
            assert found.boot(found.variant(name)).log.data == log


def test_a_recorded_machine_in_words(tmp_path):
    with group(archive(tmp_path / "a", rows({"m3": GRUB.bytes()}))) as found:
        words = CohortWords.of(found.boot(0), "sha256")
        digest = next(e.digests["sha256"].hex() for e in GRUB if e.type == 0x80000008)[:16]
        assert words.line() == (
            f"firmware sha256 {digest} · Secure Boot on · images ? shimx64.efi, ? grubx64.efi, "
            "? image of 8234944 bytes from memory · kernel /vmlinuz-6.1.0-47-amd64"
        )
        assert [item.proven for item in words.command_lines] == [True]
