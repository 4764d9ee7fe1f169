"""Logs that lie about Secure Boot, one by one, as a fleet, and at random (SPEC 10.2, 52-57)."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from conftest import DATA, hash_of
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_boot_logs import (
    AUTHORITY,
    DRIVER_CONFIG,
    EFI_ACTION,
    EV_ACTION,
    EV_IPL,
    EV_SEPARATOR,
    GLOBAL,
    IMAGE_SECURITY,
    SHA256_LIST,
    SHIM,
    Editor,
    codes,
    hashes,
    judged,
    variable,
    verified,
)
from secure_boot_logs import (
    SECURE_BOOT_LOG as HONEST,
)

from pyverify import EventLog
from pyverify.appraise import secure_boot as module
from pyverify.appraise.secure_boot import secure_boot, secure_boot_findings
from pyverify.evidence.columns import Ragged
from pyverify.evidence.scanned import ScannedLogs

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
    "53: dbt after the separator": (
        lambda log: log.insert(log.separator() + 1, D, variable(IMAGE_SECURITY, "dbt", hashes(bytes(32)))),
        X,
    ),
    "53: dbx twice in a row": (_again("dbx", None), X),
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


def test_logs_of_one_batch_that_touch_each_other_stay_apart():
    """A SHA-1 log has no header: its first event may be PCR 7's, and so may the last of the log before it."""

    def sha1_log(*events):
        return b"".join(
            struct.pack("<II", 7, kind) + hash_of("sha1", data) + struct.pack("<I", len(data)) + data
            for kind, data in events
        )

    off = (D, variable(GLOBAL, "SecureBoot", b"\0"))
    logs = [sha1_log(off), sha1_log(off, (EV_SEPARATOR, bytes(4))), sha1_log((EFI_ACTION, b"UEFI Debug Mode"), off)]
    scanned = ScannedLogs.of(Ragged.of(logs))
    told = list(secure_boot_findings(scanned, np.ones(len(scanned.events), np.int8)))
    for row, data in enumerate(logs):
        log = EventLog.parse(data)
        assert tuple(finding for at, finding in told if at == row) == secure_boot(log, [1] * len(log)).findings
    assert {row for row, _ in told} == {0, 1, 2}


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
