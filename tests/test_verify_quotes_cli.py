"""Quotes on the command line: from an enrolled key and a nonce to a verdict and its exit code (DESIGN section 9)."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import pytest
from attested_machine import ALL_PCRS, Machine
from conftest import shared, small_log
from tpm_in_python import SentQuote, Tpm

from pyverify.cli.arguments import build_parser

DAY_1, DAY_1_LATER, DAY_2, DAY_2_LATER, DAY_30 = (
    ("--as-of", f"2026-11-{day:02}T{hour:02}:00:00Z") for day, hour in ((1, 8), (1, 10), (2, 9), (2, 11), (30, 11))
)
EVIL = small_log(["sha256"], command_line=b"init=/bin/sh")


def lay_out(folder, machine, boot, log, *quotes: SentQuote, seq=1):
    """One boot as a collector lays it out; gives the archive's folder."""
    place = folder / machine / boot
    place.mkdir(parents=True)
    (place / "binary_bios_measurements").write_bytes(log)
    (place / "evidence.json").write_text(json.dumps({"boot_seq": seq}))
    for number, quote in enumerate(quotes):
        end = f".{number}" if number else ""
        parts = {f"quote{end}.msg": quote.msg, f"quote{end}.sig": quote.sig, f"ak{end}.pub": quote.ak_pub}
        for name, data in (parts | {f"quote{end}.pcrs": quote.pcrs}).items():
            if data is not None:
                (place / name).write_bytes(data)
    return folder


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYVERIFY_STORE", raising=False)
    return tmp_path


@pytest.fixture
def pyverify(run, place):
    """The commands of the story, over a store in an empty folder."""

    class Commands:
        def __call__(self, *args, code=0):
            status, out, err = run(*args)
            assert status == code, (status, out, err)
            assert "internal error" not in err
            return out + err

        def enroll(self, machine):
            (place / "ak.pub").write_bytes(machine.key.public)
            return self("enroll", machine.name, "ak.pub", *DAY_1)

        def nonce(self, machine, at=DAY_1):
            status, out, _ = run("challenge", "new", machine.name, *at, "--format", "json")
            (challenge,) = json.loads(out)
            assert (status, challenge["machine"], challenge["ak_name"]) == (0, machine.name, machine.key.name.hex())
            return bytes.fromhex(challenge["nonce"])

        def verify(self, archive, *options, code):
            status, out, err = run("verify", archive, *options, "--format", "jsonl")
            assert status == code, (out, err)
            return [json.loads(line) for line in out.splitlines()]

    return Commands()


@pytest.fixture
def learned(pyverify, place):
    """A machine that was enrolled, asked, learned and activated; and the archive of its first boot."""
    machine = Machine("web-1")
    pyverify.enroll(machine)
    first = lay_out(place / "day1", "web-1", "b1", machine.log, machine.quote(nonce=pyverify.nonce(machine)))
    said = pyverify("learn", first, *DAY_1_LATER, "--activate")
    assert "1 baseline learned (active), 0 first boots refused" in said
    return machine, first


def found(row, severity=None):
    return {finding["code"] for finding in row["findings"] if severity in (None, finding["severity"])}


def test_an_honest_machine_from_enrolment_to_the_next_boot(pyverify, learned, place):
    machine, first = learned
    (row,) = pyverify.verify(first, *DAY_1_LATER, code=0)
    assert (row["verdict"], row["attested"], row["key"]) == ("trusted", "quote", "enrolled")
    assert row["ak_name"] == machine.key.name.hex() and found(row) == {"baseline.learned-here"}
    assert row["pcrs_proven"] == [{"bank": "sha256", "mask": [*range(10), 11, 12, 13, 14]}]
    again = pyverify.verify(first, *DAY_1_LATER, code=0)
    rest = {name: value for name, value in row.items() if name != "references_id"}  # the ledger knows what was spent
    assert again == [rest | {"references_id": again[0]["references_id"]}]
    assert pyverify.verify(first, *DAY_1_LATER, code=0) == again
    machine.tpm.reset_count, machine.tpm.clock = 8, 9_000
    second = lay_out(place / "day2", "web-1", "b2", machine.log, machine.quote(nonce=pyverify.nonce(machine, DAY_2)))
    (row,) = pyverify.verify(second, *DAY_2_LATER, code=0)
    assert (row["verdict"], row["attested"], found(row)) == ("trusted", "quote", set())
    table = pyverify("verify", second, *DAY_2_LATER)
    assert "web-1" in table and "1 trusted" in table and "policy default" in table


def test_another_kernel_is_exit_code_1_and_explained(pyverify, learned, place, capfd):
    machine, _ = learned
    machine.tpm = Tpm.booted(EVIL, owner="web-1", clock=9_000, reset_count=8)
    nonce = pyverify.nonce(machine, DAY_2)
    evil = lay_out(place / "evil", "web-1", "b2", EVIL, machine.quote(nonce=nonce))
    (row,) = pyverify.verify(evil, *DAY_2_LATER, code=1)
    assert (row["verdict"], row["attested"], found(row)) == ("untrusted", "quote", {"baseline.event-changed"})
    hidden = lay_out(place / "hidden", "web-1", "b2", machine.log, machine.quote(nonce=nonce))
    (row,) = pyverify.verify(hidden, *DAY_2_LATER, code=1)
    assert {"replay.mismatch", "baseline.pcr"} <= found(row, "high")
    words = pyverify("explain", hidden, *DAY_2_LATER, code=1)
    assert "untrusted" in words and "replay.mismatch" in words
    assert "the log does not lead to the quoted value" in words
    assert machine.tpm.pcrs["sha256"][8].hex() in words


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        ("stripped", "quote.missing", "policy default wants a signed quote"),
        ("nonce", "quote.nonce", "none that this key was ever asked with"),
        ("stranger", "key.unknown", "not enrolled for this machine"),
        ("fewer", "quote.selection", "no quote proves PCR 14 of sha256"),
        ("software", "key.unknown", "not enrolled for this machine"),
        ("signature", "quote.signature", "the signature does not verify"),
    ],
)
def test_what_is_wrong_with_a_quote_is_said_in_words(pyverify, learned, place, change, code, words):
    machine, _ = learned
    nonce = pyverify.nonce(machine, DAY_2)
    machine.tpm.clock = 9_000
    good = machine.quote(nonce=nonce)
    stranger = Tpm.booted(machine.log, owner="somebody")
    sent = {
        "stripped": [],
        "nonce": [machine.quote(nonce=bytes(32))],
        "stranger": [stranger.quote(machine.selection, nonce)],
        "software": [stranger.quote(machine.selection, nonce, "rsassa")],
        "fewer": [machine.quote([("sha256", range(14))], nonce)],
        "signature": [SentQuote(good.msg, good.sig[:-1] + bytes([good.sig[-1] ^ 1]), good.ak_pub, good.pcrs)],
    }[change]
    archive = lay_out(place / "a", "web-1", "b2", machine.log, *sent)
    (row,) = pyverify.verify(archive, *DAY_2_LATER, code=1)
    assert (row["verdict"], found(row, "high")) == ("untrusted", {code})
    explained = pyverify("explain", archive, *DAY_2_LATER, code=1)
    assert code in explained and words in explained
    assert pyverify.verify(archive, *DAY_2_LATER, "--policy", "log-only", code=0)[0]["attested"] == "log"
    # only an answer by the machine's own key spends the nonce, be it good or not
    honest, spent = lay_out(place / "b", "web-1", "b2", machine.log, good), change == "fewer"
    (row,) = pyverify.verify(honest, *DAY_2_LATER, code=int(spent))
    assert found(row) == ({"quote.replayed"} if spent else set())


def test_last_months_folder_again(pyverify, learned):
    """The whole boot as it was, log, quote and all: it answers no challenge of today."""
    machine, first = learned
    assert pyverify.verify(first, *DAY_1_LATER, code=0)
    (row,) = pyverify.verify(first, *DAY_30, code=1)
    assert (row["verdict"], row["attested"], found(row, "high")) == ("untrusted", "quote-unfresh", {"quote.unfresh"})
    pyverify.nonce(machine, DAY_30)
    assert found(pyverify.verify(first, *DAY_30, code=1)[0], "high") == {"quote.unfresh"}
    assert "challenge" in pyverify("explain", first, *DAY_30, code=1)
    assert pyverify.verify(first, *DAY_30, "--policy", "archive", code=0)[0]["attested"] == "quote-unfresh"


def test_a_nonce_that_another_quote_has_spent(pyverify, learned, place):
    machine, _ = learned
    nonce = pyverify.nonce(machine, DAY_2)
    machine.tpm.clock = 9_000
    one = lay_out(place / "one", "web-1", "b2", machine.log, machine.quote(nonce=nonce))
    assert pyverify.verify(one, *DAY_2_LATER, code=0)
    machine.tpm.clock = 10_000
    other = lay_out(place / "other", "web-1", "b3", machine.log, machine.quote(nonce=nonce))
    (row,) = pyverify.verify(other, *DAY_2_LATER, code=1)
    assert (row["verdict"], found(row, "high")) == ("untrusted", {"quote.replayed"})
    assert "used before, with another quote" in pyverify("explain", other, *DAY_2_LATER, code=1)
    assert found(pyverify.verify(other, *DAY_2_LATER, "--policy", "archive", code=1)[0]) == {"quote.replayed"}
    assert pyverify.verify(one, *DAY_2_LATER, code=0)


def test_explain_spends_no_nonce(pyverify, learned, place):
    machine, _ = learned
    nonce = pyverify.nonce(machine, DAY_2)
    machine.tpm.clock = 9_000
    one = lay_out(place / "one", "web-1", "b2", machine.log, machine.quote(nonce=nonce))
    machine.tpm.clock = 9_001
    other = lay_out(place / "other", "web-1", "b2", machine.log, machine.quote(nonce=nonce))
    pyverify("explain", one, "web-1", *DAY_2_LATER)
    assert pyverify.verify(other, *DAY_2_LATER, code=0)
    assert pyverify.verify(one, *DAY_2_LATER, code=1)


def test_several_quotes_of_one_boot_in_a_folder(pyverify, learned, place):
    machine, _ = learned
    nonce = pyverify.nonce(machine, DAY_2)
    machine.tpm.clock = 9_000
    low, high = (machine.quote([("sha256", pcrs)], nonce) for pcrs in (range(8), range(8, 24)))
    both = lay_out(place / "both", "web-1", "b2", machine.log, low, high)
    assert pyverify.verify(both, *DAY_2_LATER, code=0)
    assert pyverify.verify(both, *DAY_2_LATER, code=0)
    half = lay_out(place / "half", "web-1", "b2", machine.log, low)
    assert {"quote.selection", "quote.replayed"} & found(pyverify.verify(half, *DAY_2_LATER, code=1)[0], "high")


def test_what_is_not_known_yet_is_exit_code_3(pyverify, place):
    machine = Machine("web-1")
    pyverify.enroll(machine)
    first = lay_out(place / "a", "web-1", "b1", machine.log, machine.quote(nonce=pyverify.nonce(machine)))
    (row,) = pyverify.verify(first, *DAY_1_LATER, code=3)
    assert (row["verdict"], row["attested"], found(row)) == ("unmeasured", "quote", {"baseline.absent"})
    pyverify("learn", first, *DAY_1_LATER)
    (row,) = pyverify.verify(first, *DAY_1_LATER, code=3)
    assert row["verdict"] == "unmeasured" and "baseline.pending" in found(row)
    empty = place / "empty"
    empty.mkdir()
    assert pyverify.verify(empty, *DAY_1_LATER, code=3) == []


def test_a_first_boot_that_is_not_attested_is_not_learned(pyverify, place):
    machine = Machine("web-1")
    pyverify.enroll(machine)
    nonce = pyverify.nonce(machine)
    bare = lay_out(place / "bare", "web-1", "b1", machine.log)
    said = pyverify("learn", bare, *DAY_1_LATER, "--activate")
    assert "refused: quote.missing" in said and "0 baselines learned" in said
    old = lay_out(place / "old", "web-1", "b1", machine.log, machine.quote(nonce=nonce))
    assert "refused: quote.unfresh" in pyverify("learn", old, *DAY_30, "--activate")
    assert "1 baseline learned" in pyverify("learn", old, *DAY_1_LATER, "--activate")


def test_trust_on_first_use_has_to_be_asked_for_twice(pyverify, place):
    """When learning, and of the policy that verifies: the presets want a key that somebody vouches for."""
    machine = Machine("web-1")
    first = lay_out(place / "a", "web-1", "b1", machine.log, machine.quote())
    said = pyverify("learn", first, *DAY_1_LATER, "--policy", "archive", "--activate")
    assert "refused: key.unknown" in said
    said = pyverify("learn", first, *DAY_1_LATER, "--policy", "archive", "--activate", "--trust-first-key")
    assert "1 baseline learned" in said
    (row,) = pyverify.verify(first, *DAY_1_LATER, "--policy", "archive", code=1)
    assert (row["key"], found(row, "high")) == ("first-use", {"key.first-use"})
    words = pyverify("explain", first, *DAY_1_LATER, "--policy", "archive", code=1)
    assert "trusted because it came first" in words
    stranger = Tpm.booted(machine.log, owner="somebody")
    other = lay_out(place / "b", "web-1", "b2", machine.log, stranger.quote(machine.selection, machine.nonce))
    assert "key.unknown" in found(pyverify.verify(other, *DAY_1_LATER, "--policy", "archive", code=1)[0])
    assert "web-1" in pyverify.enroll(machine)
    assert pyverify.verify(first, *DAY_1_LATER, "--policy", "archive", code=0)[0]["key"] == "enrolled"


@pytest.mark.parametrize("fault", ["copied quote", "signature", "log"])
def test_a_key_is_not_trusted_on_first_use_of_what_does_not_hold(pyverify, place, fault):
    """A machine that sends another's key does not get it, and takes it from nobody."""
    victim = Machine("web-2")
    quote = victim.quote()
    log = EVIL if fault == "copied quote" else victim.log
    if fault == "signature":
        quote = replace(quote, sig=quote.sig[:-1] + bytes([quote.sig[-1] ^ 1]))
    elif fault == "log":
        log += b"?"
    boots = lay_out(place / "a", "web-1", "b1", log, quote)
    options = (*DAY_1_LATER, "--policy", "archive", "--activate", "--trust-first-key")
    assert "0 baselines learned" in pyverify("learn", boots, *options)
    honest = lay_out(place / "b", "web-2", "b1", victim.log, victim.quote())
    assert "1 baseline learned" in pyverify("learn", honest, *options)


def test_default_is_the_policy_of_who_names_none():
    for command in ("verify", "learn", "explain"):
        assert build_parser().parse_args([command, "x"]).policy == "default"


# The recordings: 68 boots of 18 machines, each with what it must come to


TRUSTED, UNTRUSTED, UNMEASURED = "trusted", "untrusted", "unmeasured"
CHANGED, ADDED, REMOVED = ({f"baseline.event-{word}"} for word in ("changed", "added", "removed"))
EXPECTED = {
    "01_m1_first_boot": (TRUSTED, set()),
    "02_m1_reboot": (TRUSTED, set()),
    "03_m1_reboot2": (TRUSTED, set()),
    "04_m1_reboot3": (TRUSTED, set()),
    "05_m1_reboot4": (TRUSTED, set()),
    "07_m2_first_boot": (TRUSTED, set()),
    "08_m2_reboot": (TRUSTED, set()),
    "09_m4_more_memory": (TRUSTED, set()),
    "10_kernel_upgraded": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "11_kernel_cloud": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "12_kernel_6.12": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "14_cmdline_changed": (UNTRUSTED, CHANGED),
    "15_no_ima_policy": (UNTRUSTED, CHANGED),
    "16_initrd_tampered": (UNTRUSTED, CHANGED),
    "18_grubcfg_tampered": (UNTRUSTED, ADDED | CHANGED),
    "19_shim_modified": (UNTRUSTED, CHANGED),
    "20_grub_modified": (UNTRUSTED, CHANGED),
    "22_no_event_log": (UNMEASURED, {"evidence.lost"}),
    "23_ima_program_run": (UNTRUSTED, {"ima.added"}),
    "24_ima_program_tampered": (UNTRUSTED, {"ima.added"}),
    "25_ima_unknown_program": (UNTRUSTED, {"ima.added"}),
    "26_ima_violation": (UNTRUSTED, {"ima.added", "ima.violation"}),
    "27_ima_list_longer_than_quote": (UNTRUSTED, {"ima.added"}),
    "28_ima_long_list": (UNTRUSTED, {"ima.added"}),
    "29_ima_template_ima-ng": (UNTRUSTED, CHANGED),
    "30_ima_template_ima-ngv2": (UNTRUSTED, CHANGED),
    "31_ima_template_legacy_sha1": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "32_ima_ng_sha1": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "34_ima_critical_data": (UNTRUSTED, CHANGED | {"ima.added"}),
    "35_ima_template_fmt": (UNTRUSTED, CHANGED),
    "37_pcr4_extended_by_hand": (UNTRUSTED, {"baseline.pcr", "replay.mismatch"}),
    "39_app_pcrs": (TRUSTED, set()),  # PCR 16 and 23 are nobody's business
    "40_s3_resume": (TRUSTED, set()),
    "41_attestation_types": (TRUSTED, set()),
    "42_firmware_2m": (UNTRUSTED, CHANGED),
    "43_firmware_secboot_setup_mode": (UNTRUSTED, CHANGED),
    "45_removable_path": (TRUSTED, set()),  # the same files by another path: PCR 1 and 5 alone differ
    "47_tpm_replaced": (TRUSTED, set()),  # its new key is enrolled here as well
    "48_bank_sha256_only": (TRUSTED, set()),
    "49_bank_sha384_only": (TRUSTED, set()),
    "51_banks_sha1_sha256": (TRUSTED, set()),
    "53_fleet_f1": (TRUSTED, set()),
    "54_fleet_f2": (TRUSTED, set()),
    "55_fleet_f3": (TRUSTED, set()),
    "60_sb_first_boot": (TRUSTED, set()),
    "61_sb_reboot": (TRUSTED, set()),
    "62_sb_grubcfg_tampered": (UNTRUSTED, ADDED | CHANGED),
    "63_sb_dbx_updated": (UNTRUSTED, CHANGED),
    "65_sb_mok_added": (UNTRUSTED, CHANGED),
    "67_sb_shim_modified_refused": (UNMEASURED, {"evidence.lost", "quote.missing"}),
    "68_sb_off_same_board": (UNTRUSTED, CHANGED | REMOVED),
    "70_uki": (TRUSTED, set()),
    "71_uki_kernel_upgraded": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "73_sdboot_uki": (UNTRUSTED, ADDED),
    "74_sb_own_keys_uki": (UNTRUSTED, ADDED | CHANGED),
    "76_direct_kernel": (UNTRUSTED, ADDED | CHANGED | REMOVED | {"ima.changed"}),
    "80_sm3_all_banks": (TRUSTED, set()),
    "81_sm3_all_banks_reboot": (TRUSTED, set()),
    "82_sm3_only": (TRUSTED, set()),
    "83_sm3_only_reboot": (TRUSTED, set()),
    "84_sm3_only_cmdline_changed": (UNTRUSTED, CHANGED),
    "87_sm3_sha256_debian_kernel": (TRUSTED, set()),
    "88_sm3_sha256_sm3_kernel": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "89_sm3_ima-ng_sha256": (UNTRUSTED, CHANGED | {"ima.changed"}),
    "91_debian_first_boot": (TRUSTED, set()),
    "92_debian_reboot": (TRUSTED, set()),
    "93_debian_packages_upgraded": (UNTRUSTED, {"ima.changed"}),
    "96_debian_ima-ng_612": (TRUSTED, set()),
}
AT = ("--as-of", "2026-11-05T00:00:00Z", "--policy", "archive")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The recordings as an archive, by their own script."""
    script, out = shared("recordings", "to_archive.py"), tmp_path_factory.mktemp("recorded") / "archive"
    subprocess.run([sys.executable, script, out], check=True, capture_output=True)
    return out


def enroll_all(pyverify, archive, without=()):
    for machine in sorted(archive.iterdir()):
        keys = {path.read_bytes(): path for path in sorted(machine.glob("*/ak.pub")) if path.parent.name not in without}
        if keys:
            pyverify("enroll", machine.name, *keys.values())


def test_every_recording_comes_to_what_it_should(pyverify, recorded):
    enroll_all(pyverify, recorded)
    count = len(json.loads(recorded.with_name("archive.challenges.json").read_text()))
    assert f"{count} challenges, {count} of them new" in pyverify(
        "challenge", "import", recorded.with_name("archive.challenges.json")
    )
    said = pyverify("learn", recorded, *AT, "--activate")
    machines = len(list(recorded.iterdir()))
    assert f"{machines} baselines learned (active), 0 first boots refused" in said
    rows = pyverify.verify(recorded, *AT, code=1)
    came_to = {row["boot"]: (row["verdict"], found(row, "high")) for row in rows}
    assert len(rows) == len(came_to) == len(EXPECTED)
    assert came_to == EXPECTED
    by_boot = {row["boot"]: row for row in rows}
    assert by_boot["37_pcr4_extended_by_hand"]["pcrs_unproven"] == [{"bank": "sha256", "mask": [4]}]
    assert {row["boot"] for row in rows if row["attested"] == "log"} == {"67_sb_shim_modified_refused"}
    assert pyverify.verify(recorded, *AT, code=1) == rows


def test_a_tpm_that_was_replaced_is_not_the_machines(pyverify, recorded):
    """47: the same disk and firmware, another TPM, whose key nobody enrolled."""
    enroll_all(pyverify, recorded, without=("47_tpm_replaced",))
    pyverify("challenge", "import", recorded.with_name("archive.challenges.json"))
    pyverify("learn", recorded / "m2", *AT, "--activate")
    rows = {row["boot"]: row for row in pyverify.verify(recorded / "m2", *AT, code=1)}
    assert [row["verdict"] for row in rows.values()].count("trusted") == len(rows) - 1
    replaced = rows["47_tpm_replaced"]
    assert (replaced["verdict"], replaced["attested"], found(replaced, "high")) == (
        "untrusted",
        "log",
        {"key.unknown", "ima.pcr"},
    )


def test_recordings_under_the_default_policy_are_as_fresh_as_their_challenges(pyverify, recorded):
    """Only the newest boot of a machine answers its newest challenge."""
    enroll_all(pyverify, recorded)
    pyverify("challenge", "import", recorded.with_name("archive.challenges.json"))
    challenges = json.loads(recorded.with_name("archive.challenges.json").read_text())
    pyverify("learn", recorded / "sm3only", *AT, "--activate")
    own = [challenge for challenge in challenges if challenge["machine"] == "sm3only"]
    for challenge in own:
        rows = pyverify.verify(recorded / "sm3only", "--as-of", challenge["issued_at"], code=1)
        fresh = [row["boot"] for row in rows if row["attested"] == "quote"]
        assert fresh == [challenge["boot"]]
        unfresh = {row["boot"] for row in rows if "quote.unfresh" in found(row, "high")}
        assert unfresh == {other["boot"] for other in own} - {challenge["boot"]}


def test_a_bank_of_pcrs_more_is_no_quote_less(pyverify, place):
    """The banks that are quoted may be several; a folder says it as the TPM does."""
    machine = Machine("web-1", banks=("sha256", "sm3_256"))
    pyverify.enroll(machine)
    nonce = pyverify.nonce(machine)
    first = lay_out(place / "a", "web-1", "b1", machine.log, machine.quote(nonce=nonce))
    pyverify("learn", first, *DAY_1_LATER, "--activate")
    (row,) = pyverify.verify(first, *DAY_1_LATER, code=0)
    assert [item["bank"] for item in row["pcrs_proven"]] == ["sha256", "sm3_256"]
    machine.tpm.clock = 9_000
    nonce = pyverify.nonce(machine, DAY_2)
    one = lay_out(place / "b", "web-1", "b2", machine.log, machine.quote([("sha256", ALL_PCRS)], nonce))
    assert found(pyverify.verify(one, *DAY_2_LATER, code=1)[0], "high") == {"bank.missing"}
