"""Secure Boot against machines whose state is known, and against logs that lie about it (SPEC 5, 10.2 52-57)."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from conftest import DATA, hash_of, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from log_editor import (
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
    variable,
    verified,
)

from pyverify import EventLog, EvidenceError, UsageError
from pyverify.appraise import secure_boot as module
from pyverify.appraise.secure_boot import Allowances, secure_boot, secure_boot_findings
from pyverify.evidence.columns import Ragged
from pyverify.evidence.sbat import parse_sbat, sbat_at_least
from pyverify.evidence.scanned import ScannedLogs
from pyverify.evidence.signatures import dbx_covers, signatures

HONEST = (DATA / "logs" / "60_sb_first_boot.bin").read_bytes()
STATES = {b"\1": "enabled", b"\0": "disabled"}
ALGORITHM_OF_ENTRY = "c1c41626-504c-4092-aca9-41f936934328"
SHA256_LIST = bytes.fromhex("2616c4c14c509240aca941f936934328")


def judged(data: bytes, **allow: bool):
    log = EventLog.parse(data)
    return secure_boot(log, verified(log), Allowances(**allow))


def codes(boot, severity: str = "high") -> set[str]:
    return {finding.code for finding in boot.findings if finding.severity == severity}


def hashes(*digests: bytes, header: bytes = b"") -> bytes:
    """An EFI_SIGNATURE_LIST of SHA-256 hashes."""
    size = 28 + len(header) + 48 * len(digests)
    body = b"".join(bytes(16) + digest for digest in digests)
    return SHA256_LIST + struct.pack("<III", size, len(header), 48) + header + body


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


X, D = "secureboot.ambiguous", DRIVER_CONFIG


def _secure_boot(guid=GLOBAL, name="SecureBoot", content=b"\1"):
    return lambda log: log.set(log.find("SecureBoot"), variable(guid, name, content))


def _again(name, content, where=None):
    def edit(log):
        guid, _, old = log.entries[log.find(name)].variable
        at = log.find("dbx") + 1 if where is None else where(log)
        return log.insert(at, D, variable(guid, name, old if content is None else content))

    return edit


def _end(log):
    return len(log.entries)


ATTACKS = {
    "52: the variable under another GUID": (_secure_boot(guid=IMAGE_SECURITY), X),
    "52: a NUL in the name": (_secure_boot(name="SecureBoot\0"), X),
    "52: a full-width S": (_secure_boot(name="\uff33ecureBoot"), X),
    "52: a decomposed letter": (_secure_boot(name="SecureBoo\u0301t"), X),
    "52: a space after the name": (_secure_boot(name="SecureBoot "), X),
    "52: another case": (_secure_boot(name="secureBoot"), X),
    "52: a lone surrogate": (_secure_boot(name="SecureBoot".encode("utf-16-le") + b"\0\xd8"), X),
    "52: db under the global GUID": (lambda log: log.set(log.find("db"), variable(GLOBAL, "db", b"")), X),
    "52: a twin beside the real one": (
        lambda log: log.insert(log.find("PK"), D, variable(GLOBAL, "SecureBoot\0", b"\0")),
        X,
    ),
    "53: 1, then 0": (_again("SecureBoot", b"\0"), X),
    "53: 0, then 1": (lambda log: _again("SecureBoot", b"\1")(log.content("SecureBoot", b"\0")), X),
    "53: the same twice": (_again("SecureBoot", None), X),
    "53: again after the separator": (_again("SecureBoot", b"\1", lambda log: log.separator() + 1), X),
    "53: again at the end": (_again("SecureBoot", b"\0", _end), X),
    "53: PK enrolled during boot": (_again("PK", None, _end), X),
    "53: PK before SecureBoot": (lambda log: log.move(log.find("PK"), log.find("SecureBoot")), X),
    "53: dbx before db": (lambda log: log.move(log.find("dbx"), log.find("db")), X),
    "53: SecureBoot after the separator": (lambda log: log.move(log.find("SecureBoot"), log.separator()), X),
    "54: two bytes": (_secure_boot(content=b"\1\0"), X),
    "54: value 2": (_secure_boot(content=b"\2"), X),
    "54: value ff": (_secure_boot(content=b"\xff"), X),
    "55: authority not in db": (
        lambda log: log.content("db", IMAGE_SECURITY + b"\x30\x82\0\4abcd", AUTHORITY),
        "secureboot.authority",
    ),
    "55: authority of another owner": (
        lambda log: log.content("db", bytes(16) + log.entries[log.find("db", AUTHORITY)].variable[2][16:], AUTHORITY),
        "secureboot.authority",
    ),
    "55: db empty": (lambda log: log.content("db", b""), X),
    "55: db missing": (lambda log: log.remove(log.find("db")), X),
    "55: no authority": (lambda log: log.remove(log.find("db", AUTHORITY)), "secureboot.authority"),
    "55: only a hash that db does not hold": (
        lambda log: log.content("db", bytes(16) + hash_of("sha256", b"evil"), AUTHORITY),
        "secureboot.authority",
    ),
    "55: db and authority are of dbt": (
        lambda log: log.set(
            log.find("db", AUTHORITY), variable(IMAGE_SECURITY, "dbt", log.entries[log.find("db", AUTHORITY)].data[36:])
        ),
        "secureboot.authority",
    ),
    "57: dbx empty": (lambda log: log.content("dbx", b""), X),
    "57: dbx missing": (lambda log: log.remove(log.find("dbx")), X),
    "PK missing": (lambda log: log.remove(log.find("PK")), X),
    "PK is a hash": (lambda log: log.content("PK", hashes(bytes(32))), X),
    "PK is two certificates": (
        lambda log: log.content("PK", 2 * log.entries[log.find("PK")].variable[2]),
        X,
    ),
    "PK with an empty list behind": (
        lambda log: log.content("PK", log.entries[log.find("PK")].variable[2] + hashes()),
        X,
    ),
    "KEK empty": (lambda log: log.content("KEK", b""), X),
    "17: dbx of signatures of size 0": (
        lambda log: log.content("dbx", SHA256_LIST + struct.pack("<III", 28, 0, 0)),
        X,
    ),
    "18: db with a header of its own": (
        lambda log: log.content("db", hashes(bytes(32), header=bytes(48))),
        X,
    ),
    "16: a name of 2^63 units": (
        lambda log: log.set(log.find("dbx"), GLOBAL + struct.pack("<QQ", 1 << 63, (1 << 64) - 1) + bytes(8)),
        X,
    ),
    "36: dbx under a type of no meaning": (lambda log: _kind(log, "dbx", 2), X),
    "36: a second SecureBoot as an authority": (
        lambda log: log.insert(_end(log), AUTHORITY, variable(GLOBAL, "SecureBoot", b"\0")),
        X,
    ),
    "36: a second SecureBoot as a policy of devices": (
        lambda log: log.insert(_end(log), 0x800000E3, variable(GLOBAL, "SecureBoot", b"\0")),
        X,
    ),
    "a variable that nobody knows": (lambda log: log.insert(log.find("PK"), D, variable(GLOBAL, "Setup", b"\1")), X),
    "bytes behind the SecureBoot variable": (
        lambda log: log.set(log.find("SecureBoot"), variable(GLOBAL, "SecureBoot", b"\1") + b"\0"),
        X,
    ),
    "audit mode": (lambda log: log.insert(log.separator(), D, variable(GLOBAL, "AuditMode", b"\1")), X),
    "deployed mode of no value": (
        lambda log: log.insert(log.separator(), D, variable(GLOBAL, "DeployedMode", b"\7")),
        X,
    ),
    "no separator": (lambda log: log.remove(log.separator()), X),
    "a second separator": (lambda log: log.insert(log.separator(), EV_SEPARATOR, bytes(4)), X),
    "an error separator": (lambda log: log.set(log.separator(), b"\1\0\0\0"), X),
    "a separator of ones": (lambda log: log.set(log.separator(), b"\xff" * 4), X),
    "an action of no meaning": (lambda log: log.insert(log.separator(), EFI_ACTION, b"All is well"), X),
    "debug mode": (lambda log: log.insert(log.find("SecureBoot"), EFI_ACTION, b"UEFI Debug Mode"), "secureboot.debug"),
    "debug mode with a NUL": (
        lambda log: log.insert(log.find("SecureBoot"), EFI_ACTION, b"UEFI Debug Mode\0"),
        "secureboot.debug",
    ),
    "no DMA protection": (
        lambda log: log.insert(log.separator(), EFI_ACTION, b"DMA Protection Disabled\0"),
        "secureboot.debug",
    ),
    "SbatLevel is no list": (lambda log: log.content("SbatLevel", b"\xff\xfe", AUTHORITY), X),
    "SbatLevel twice, and older": (
        lambda log: log.insert(_end(log), AUTHORITY, variable(SHIM, "SbatLevel", b"sbat,1,2021030218\n")),
        X,
    ),
}


def _kind(log, name, kind):
    log.entries[log.find(name)].kind = kind
    return log


@pytest.mark.parametrize(("edit", "code"), ATTACKS.values(), ids=ATTACKS)
def test_a_log_that_is_not_what_honest_firmware_measures_is_not_enabled(edit, code):
    assert judged(HONEST).enabled
    boot = judged(edit(Editor(HONEST)).build())
    assert not boot.enabled
    assert code in codes(boot)
    if code == X:
        assert boot.state == "ambiguous"
    numbers = {finding.event for finding in boot.findings if finding.code == code}
    assert numbers == {None} or all(n is None or n < len(Editor(HONEST).entries) + 3 for n in numbers)


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
    assert number in {finding.event for finding in boot.findings if finding.code == X}


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
        log.insert(_end(log), AUTHORITY, variable(SHIM, "MokSBState", content))
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
    boot = judged(log.insert(_end(log), AUTHORITY, variable(IMAGE_SECURITY, "dbx", entry)).build())
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
        log.insert(log.find("dbx") + 1, D, variable(IMAGE_SECURITY, name, db))
    boot = judged(log.build())
    assert boot.enabled
    assert boot.dbt == boot.dbr == boot.db
    log.move(log.find("dbr"), log.find("dbt"))
    assert X in codes(judged(log.build()))


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
    log.insert(log.find("PK"), D, variable(GLOBAL, "Secure\u202eBoot\x1b[2J", b"\1"))
    log.insert(log.find("PK"), EFI_ACTION, b"\x1b[2J\r\xff" + b"A" * 500)
    hints = [finding.hint for finding in judged(log.build()).findings]
    assert any("\\u202e" in hint for hint in hints)
    assert all(hint.isprintable() and len(hint) < 300 for hint in hints)


# A fleet


def _fleet():
    logs = [HONEST] + [edit(Editor(HONEST)).build() for edit, _ in ATTACKS.values()]
    logs += [(DATA / "logs" / name).read_bytes() for name in ("01_m1_first_boot.bin", "80_sm3_all_banks.bin")]
    return [logs[0], HONEST[:-1], b"", *logs, *logs]


def test_a_fleet_has_the_findings_of_its_logs_one_by_one():
    logs = _fleet()
    scanned = ScannedLogs.of(Ragged.of(logs))
    flags = [verified(EventLog.read(data)) for data in logs]
    batch = np.array([flag for of_log in flags for flag in of_log], np.int8)
    told = list(secure_boot_findings(scanned, batch))
    assert [row for row, _ in told] == sorted(row for row, _ in told)
    for row, data in enumerate(logs):
        log = EventLog.read(data)
        alone = () if log.fault or not data else secure_boot(log, flags[row]).findings
        assert tuple(finding for at, finding in told if at == row) == alone, row
    assert len(told) > 100


def test_equal_boards_are_judged_once_and_events_keep_their_own_numbers():
    other = Editor(HONEST)
    for entry in other.entries:
        if entry.pcr == 8:
            entry.data += b"!"
    other.insert(2, EV_ACTION, b"one event more", pcr=6)
    debug = (b"UEFI Debug Mode", 0)
    logs = []
    for log in (Editor(HONEST), other):
        logs.append(log.insert(log.find("SecureBoot"), EFI_ACTION, debug[0]).build())
    module._findings_cached.cache_clear()
    told = []
    for data in (*logs, logs[0]):
        scanned = ScannedLogs.of(Ragged.of([data]))
        flags = np.array(verified(EventLog.parse(data)), np.int8)
        told.append([f.event for _, f in secure_boot_findings(scanned, flags) if f.code == "secureboot.debug"])
    assert told == [[4], [5], [4]]
    assert module._findings_cached.cache_info().misses == 1
    # The same bytes with another answer of the digest check are another board.
    flags[4] = 0
    assert any(f.code == X for _, f in secure_boot_findings(scanned, flags))


def test_headers_that_frame_the_same_bytes_differently_share_nothing():
    """Equal entry bytes of two logs may be other events: the layout belongs to the key."""
    scanned = ScannedLogs.of(Ragged.of([HONEST]))
    flags = np.array(verified(EventLog.parse(HONEST)), np.int8)
    list(secure_boot_findings(scanned, flags))
    moved = ScannedLogs(scanned.logs, scanned.rows, scanned.events.copy(), scanned.log_of)
    at = int(np.flatnonzero(moved.events["pcr"] == 7)[0])
    moved.events["data_size"][at] -= 1
    moved.events["data_at"][at] += 1
    assert any(f.code == X for _, f in secure_boot_findings(moved, flags))


# Values for the policy


def test_a_dbx_covers_a_minimum_whoever_owns_its_entries():
    a, b, c = (hash_of("sha256", name) for name in (b"a", b"b", b"c"))
    owned = bytearray(hashes(a, b))
    owned[28:44] = b"\x11" * 16
    dbx = signatures(bytes(owned))
    assert [entry.type for entry in dbx] == [ALGORITHM_OF_ENTRY] * 2
    assert dbx_covers(dbx, signatures(hashes(b) + hashes(a)))
    assert dbx_covers(dbx, ())
    assert not dbx_covers(dbx, signatures(hashes(a, c)))
    assert not dbx_covers((), signatures(hashes(a)))


def test_revocations_of_the_updated_machine_cover_those_before_but_not_the_reverse():
    """Attack 57, dbx rolled back: recordings 60 and 63 are one machine before and after an update of dbx."""
    old, new = (
        judged((shared("recordings") / name / "binary_bios_measurements").read_bytes())
        for name in ("60_sb_first_boot", "63_sb_dbx_updated")
    )
    assert old.enabled
    assert new.enabled
    assert dbx_covers(new.dbx, old.dbx)
    assert not dbx_covers(old.dbx, new.dbx)


@pytest.mark.parametrize(
    ("level", "minimum", "answer"),
    [
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 4}, True),
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 4, "grub": 5}, True),
        ("sbat,1,2025021800\nshim,4\ngrub,5\n", {"shim": 5}, False),
        ("sbat,1,2021030218\n", {"shim": 1}, False),
        ("sbat,1,2021030218\n", {}, True),
        (None, {"shim": 1}, False),
        ("shim,4\n", {"shim": 4}, False),
        ("sbat,1\nshim,4\nshim,2\n", {"shim": 2}, False),
        ("sbat,1\nshim,٤\n", {"shim": 4}, False),
        ("sbat,1\nshim, 4\n", {"shim": 4}, False),
        ("sbat,1\nshim,-4\n", {"shim": 1}, False),
        ("sbat,1\nshim,99999\n", {"shim": 4}, False),
        ("sbat,1\n\nshim,4\n", {"shim": 4}, False),
    ],
)
def test_a_level_refuses_what_is_below_the_minimum(level, minimum, answer):
    assert sbat_at_least(level, minimum) is answer


def test_a_level_of_any_size_is_read_or_refused():
    assert parse_sbat(b"sbat,1\n" + b"".join(b"c%d,1\n" % i for i in range(500))) is not None
    assert parse_sbat(b"sbat,1\n" + b"a,1\n" * 100_000) is None
    assert parse_sbat(b"") is None


# Whatever the data of PCR 7 becomes


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_data_is_never_enabled_under_its_old_digest(data):
    log = Editor(HONEST)
    places = [at for at, e in enumerate(log.entries) if e.pcr == 7]
    entry = log.entries[data.draw(st.sampled_from(places))]
    at = data.draw(st.integers(0, len(entry.data) - 1))
    replacement = data.draw(st.binary(max_size=8).filter(lambda b: entry.data[at : at + len(b)] != b or not b))
    entry.data = entry.data[:at] + replacement + entry.data[at + max(len(replacement), 1) :]
    assert not judged(log.build()).enabled


_RULES_OF_CONTENT = {"PK", "KEK", "db", "dbx", "MokListRT", "SbatLevel"}


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_changed_data_with_its_digest_is_enabled_only_if_the_rules_still_hold(data):
    log = Editor(HONEST)
    places = [at for at, e in enumerate(log.entries) if e.pcr in (7, 14)]
    for _ in range(data.draw(st.integers(1, 3))):
        entry = log.entries[data.draw(st.sampled_from(places))]
        at = data.draw(st.integers(0, max(len(entry.data) - 1, 0)))
        entry.data = entry.data[:at] + data.draw(st.binary(max_size=40)) + entry.data[at + 1 :]
        entry.kind = data.draw(st.sampled_from([entry.kind] * 6 + [DRIVER_CONFIG, AUTHORITY, EFI_ACTION, 2]))
        entry.rehash(log.banks)
    boot = judged(log.build())
    if boot.enabled:
        honest = Editor(HONEST)
        for changed, entry in zip(log.entries, honest.entries, strict=True):
            if entry.pcr == 7 and (changed.kind, changed.data) != (entry.kind, entry.data):
                assert changed.kind == entry.kind
                assert changed.variable[:2] == entry.variable[:2]
                assert entry.variable[1] in _RULES_OF_CONTENT
        assert boot.pk and boot.kek and boot.db and boot.dbx


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([D, AUTHORITY, EFI_ACTION, EV_SEPARATOR, EV_IPL, 0x800000E4]), st.binary())))
def test_no_data_raises(events):
    log = Editor(HONEST)
    for kind, data in events:
        log.insert(_end(log), kind, data)
        log.insert(_end(log), kind, data, pcr=14)
    assert judged(log.build()).enabled is (not events)
