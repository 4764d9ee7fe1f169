"""Secure Boot against machines whose state is known, and against logs that lie about it (SPEC 5, 10.2 52-57)."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import hash_of, shared
from secure_boot_logs import (
    AUTHORITY,
    DRIVER_CONFIG,
    EFI_ACTION,
    EV_ACTION,
    EV_IPL,
    EV_SEPARATOR,
    GLOBAL,
    IMAGE_SECURITY,
    SHIM,
    Editor,
    Entry,
    codes,
    judged,
    variable,
    verified,
)
from secure_boot_logs import (
    SECURE_BOOT_LOG as HONEST,
)

from pyverify import EventLog, EvidenceError, UsageError
from pyverify.appraise.secure_boot import secure_boot, secure_boot_findings
from pyverify.evidence.columns import Ragged
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.signature_databases import signatures

STATES = {b"\1": "enabled", b"\0": "disabled"}


def recordings():
    for path in sorted(shared("recordings").glob("*/scenario.json")):
        log = path.parent / "binary_bios_measurements"
        if log.exists() and log.stat().st_size:
            yield path.parent, log.read_bytes()


def test_every_recording_has_the_state_that_its_firmware_reported():
    states = []
    for folder, data in recordings():
        boot = judged(data)
        reported = (folder / "efivars" / "SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c").read_bytes()[4:]
        assert boot.state == STATES[reported], folder.name
        assert boot.enabled == json.loads((folder / "scenario.json").read_text())["secure_boot"], folder.name
        assert not codes(boot), folder.name
        assert codes(boot, "info") <= {"secureboot.disabled", "secureboot.authority"}
        states.append(boot.state)
    assert states.count("enabled") >= 6
    assert states.count("disabled") >= 40


def test_the_measured_databases_are_those_that_the_machine_holds():
    compared = 0
    for folder, data in recordings():
        boot = judged(data)
        for key, name in (
            ("pk", "PK-8be4df61-93ca-11d2-aa0d-00e098032b8c"),
            ("kek", "KEK-8be4df61-93ca-11d2-aa0d-00e098032b8c"),
            ("db", "db-d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
            ("dbx", "dbx-d719b2cb-3d3a-4596-a3bc-dad00e67656f"),
        ):
            path = folder / "efivars" / name
            held = signatures(path.read_bytes()[4:]) if path.exists() else ()
            assert getattr(boot, key) == held, (folder.name, key)
            compared += len(held)
    assert compared > 40


def test_what_a_shim_boot_measured_is_read_as_what_it_is():
    boot = judged(HONEST)
    (db, sbat, mok) = boot.authorities
    assert (db.source, db.found) == ("db", True)
    assert db.owner == "77fa9abd-0359-4d32-bd60-28f4e78f784b"  # Microsoft
    assert (sbat.source, sbat.found) == ("SbatLevel", None)
    assert (mok.source, mok.found) == ("MokListRT", None)
    assert boot.sbat_level == "sbat,1,2025021800\nshim,4\ngrub,5\n"
    assert boot.sbat_rows == (("sbat", 1), ("shim", 4), ("grub", 5))
    assert boot.shim_validates
    assert not boot.debug
    assert not boot.dma_protection_off
    assert (boot.dbt, boot.dbr) == (None, None)
    assert set(boot.mok_list) == set(boot.mok_list_x) == {"sha1", "sha256", "sha384", "sha512"}
    (finding,) = boot.findings
    assert (finding.code, finding.severity, finding.event) == ("secureboot.authority", "info", mok.event)


# Logs of other people whose state is known, but is not what the events prove.
NOT_PROVEN = {
    "event-uefivar.bin": "ambiguous",  # a fragment: the variable alone, without keys or a separator
    "linux_tpm12.eventlog.bin": "ambiguous",  # its firmware hashes the content of the variables only
}
DMA_OFF = ("elitebook", "test-HP-EliteBook", "test-before", "test-update", "test.evidence")


def test_every_log_of_the_corpus_has_its_known_state():
    corpus = shared("corpus")
    compared = 0
    for record in json.loads((corpus / "manifest.json").read_text()):
        known = record.get("census", {}).get("secure_boot")
        if record["kind"] not in ("tcg1", "tcg2"):
            continue
        name = record["file"].rsplit("/", 1)[1]
        boot = judged((corpus / record["file"]).read_bytes())
        if name in NOT_PROVEN:
            assert boot.state == NOT_PROVEN[name]
            continue
        expected = {True: {"enabled"}, False: {"disabled", "not-initialised"}, None: {"unknown"}}[known]
        assert boot.state in expected, name
        weakened = name.startswith(DMA_OFF)
        assert boot.enabled == (known is True and not weakened), name
        if known is not None:
            assert codes(boot) == ({"secureboot.debug"} if weakened else set()), name
            sizes = record["census"]["secure_boot_db_bytes"] or {}
            for key, size in sizes.items():
                assert bool(getattr(boot, key.lower())) == bool(size), (name, key)
        compared += 1
    assert compared == 68


def test_firmware_that_measures_no_variables_cannot_vouch_for_an_authority():
    """Three Windows servers of the corpus: a separator and an authority are all of PCR 7."""
    log = Editor(HONEST)
    log.entries = [e for e in log.entries if e.pcr != 7 or e.kind != DRIVER_CONFIG]
    boot = judged(log.build())
    assert boot.state == "unknown"
    assert codes(boot) == {"secureboot.authority"}


def test_a_bios_boot_is_unknown_and_no_finding():
    log = Editor(HONEST)
    log.entries = [e for e in log.entries if e.pcr != 7 or e.kind == EV_SEPARATOR]
    boot = judged(log.insert(5, EV_ACTION, b"Some BIOS action").build())
    assert boot.state == "unknown"
    assert "secureboot.ambiguous" not in codes(boot)


@pytest.mark.parametrize(("content", "state"), [(b"\0", "disabled"), (b"", "not-initialised")])
def test_a_machine_without_secure_boot_is_told_as_info(content, state):
    boot = judged(Editor(HONEST).content("SecureBoot", content).build())
    assert (boot.state, boot.enabled, codes(boot)) == (state, False, set())
    assert "secureboot.disabled" in codes(boot, "info")


def test_setup_mode_without_keys_is_no_alarm():
    log = Editor(HONEST).content("SecureBoot", b"\0")
    for name in ("PK", "KEK", "db", "dbx"):
        log.content(name, b"")
    log.remove(log.find("db", AUTHORITY))
    boot = judged(log.build())
    assert (boot.state, codes(boot), boot.pk) == ("disabled", set(), ())


@pytest.mark.parametrize(
    ("edit", "allowed", "left"),
    [
        (lambda log: log.content("dbx", b""), "empty_dbx", set()),
        (lambda log: log.set(log.separator(), b"\xff" * 4), "separator_of_ones", set()),
        (
            lambda log: log.insert(log.separator(), EFI_ACTION, b"Security Level is Downgraded to 0"),
            "dma_protection_off",
            {"secureboot.debug"},
        ),
    ],
    ids=["empty dbx", "separator", "DMA"],
)
def test_what_the_policy_allows_is_enabled(edit, allowed, left):
    data = edit(Editor(HONEST)).build()
    assert not judged(data).enabled
    boot = judged(data, **{allowed: True})
    assert (boot.enabled, codes(boot)) == (True, set())
    assert left <= codes(boot, "info")


@pytest.mark.parametrize("number", range(4, 10))
@pytest.mark.parametrize("flag", [0, -1])
def test_data_that_its_digest_does_not_prove_says_nothing(number, flag):
    log = EventLog.parse(HONEST)
    flags = verified(log)
    assert flags[number] == 1
    flags[number] = flag
    boot = secure_boot(log, flags)
    assert (boot.enabled, boot.state) == (False, "ambiguous")
    assert number in {finding.event for finding in boot.findings if finding.code == "secureboot.ambiguous"}


def test_data_altered_under_its_digest_is_seen_in_any_bank():
    """Attacks 38 and 39: right in all banks but one."""
    log = Editor(HONEST)
    entry = log.entries[log.find("SecureBoot")]
    honest = entry.digests
    for bank in log.banks:
        entry.digests = {**honest, bank: hash_of(bank, variable(GLOBAL, "SecureBoot", b"\0"))}
        assert not judged(log.build()).enabled, bank


def test_shim_that_does_not_verify_is_told_apart_from_secure_boot():
    for content, off in ((b"\0", False), (b"\1", True), (b"\2", True), (b"", True), (b"\0\0", True)):
        log = Editor(HONEST)
        log.insert(len(log.entries), AUTHORITY, variable(SHIM, "MokSBState", content))
        boot = judged(log.build())
        assert boot.shim_validates is not off
        assert codes(boot) == ({"secureboot.shim-off"} if off else set())
        assert boot.enabled
    log = Editor(HONEST)
    log.entries = [e for e in log.entries if e.pcr != 14 and not (e.kind == AUTHORITY and e.variable[0] == SHIM)]
    assert judged(log.build()).shim_validates is None


@pytest.mark.parametrize(("content", "off"), [(b"\0", False), (b"\1", True)])
def test_shims_own_log_of_its_switch_counts_though_it_holds_a_digest_only(content, off):
    log = Editor(HONEST)
    log.entries.append(Entry(14, EV_IPL, b"MokSBState\0").rehash(log.banks, hashed=content))
    boot = judged(log.build())
    assert boot.shim_validates is not off
    assert codes(boot) == ({"secureboot.shim-off"} if off else set())


def test_sbat_level_is_no_signature():
    """Attack 56: it once was read as one, and the whole log refused."""
    for text in (b"sbat,1,2021030218\n", b"sbat,1\n", b"sbat,1,2025021800\nshim,4\ngrub,5\n\0"):
        boot = judged(Editor(HONEST).content("SbatLevel", text, AUTHORITY).build())
        assert boot.enabled
        assert boot.sbat_level == text.decode()


@pytest.mark.parametrize("excess", [b"\0", b"garbag"], ids=["packed", "padded"])
@pytest.mark.parametrize(("guid", "name"), [(SHIM, "Shim"), (SHIM, "MokList"), (IMAGE_SECURITY, "db")])
def test_old_shims_log_a_bare_certificate_and_a_byte_too_much(excess, guid, name):
    log = Editor(HONEST)
    certificate = log.entries[log.find("db", AUTHORITY)].variable[2][16:]
    data = variable(guid, name, certificate) + excess
    log.entries.append(Entry(7, AUTHORITY, data).rehash(log.banks, hashed=data[:-1]))
    boot = judged(log.build())
    assert boot.enabled
    last = boot.authorities[-1]
    assert (last.source, last.owner, last.data, last.found) == (name, None, certificate, name == "db" or None)
    log.entries[-1].rehash(log.banks, hashed=data[:-2] + b"?")
    assert not judged(log.build()).enabled


def test_a_refused_image_is_told():
    log = Editor(HONEST)
    entry = log.entries[log.find("dbx")].variable[2][28:]
    boot = judged(log.insert(len(log.entries), AUTHORITY, variable(IMAGE_SECURITY, "dbx", entry)).build())
    assert boot.enabled
    assert boot.authorities[-1].found
    assert any("refused" in finding.hint for finding in boot.findings)


def test_a_driver_may_be_verified_before_a_late_separator():
    """Dell servers write PCR 7's separator with the others, after the drivers of option ROMs."""
    log = Editor(HONEST)
    assert judged(log.move(log.separator(), log.find("db", AUTHORITY)).build()).enabled


def test_databases_of_time_stamps_and_recovery_come_after_dbx():
    log = Editor(HONEST)
    db = log.entries[log.find("db")].variable[2]
    for name in ("dbr", "dbt"):
        log.insert(log.find("dbx") + 1, DRIVER_CONFIG, variable(IMAGE_SECURITY, name, db))
    boot = judged(log.build())
    assert boot.enabled
    assert boot.dbt == boot.dbr == boot.db
    log.move(log.find("dbr"), log.find("dbt"))
    assert "secureboot.ambiguous" in codes(judged(log.build()))


def test_a_log_that_cannot_be_judged_is_an_exception_and_flags_must_fit():
    with pytest.raises(EvidenceError, match=r"log\.truncated"):
        secure_boot(EventLog.read(HONEST[:-3]), [1] * 49)
    with pytest.raises(EvidenceError, match=r"log\.absent"):
        secure_boot(EventLog.read(b""), [])
    with pytest.raises(UsageError):
        secure_boot(EventLog.parse(HONEST), [1] * 7)
    with pytest.raises(UsageError):
        next(secure_boot_findings(ScannedLogs.of(Ragged.of([HONEST])), np.ones(7, np.int8)))


def test_findings_of_a_hostile_log_are_counted_not_listed():
    log = Editor(HONEST)
    log.entries += [Entry(7, EFI_ACTION, b"x").rehash(log.banks)] * 1000
    boot = judged(log.build())
    assert len(boot.findings) < 20
    assert any("992 more" in finding.hint for finding in boot.findings)


def test_text_of_the_log_is_escaped():
    log = Editor(HONEST)
    log.insert(log.find("PK"), DRIVER_CONFIG, variable(GLOBAL, "Secure\u202eBoot\x1b[2J", b"\1"))
    log.insert(log.find("PK"), EFI_ACTION, b"\x1b[2J\r\xff" + b"A" * 500)
    hints = [finding.hint for finding in judged(log.build()).findings]
    assert any("\\u202e" in hint for hint in hints)
    assert all(hint.isprintable() and len(hint) < 300 for hint in hints)
