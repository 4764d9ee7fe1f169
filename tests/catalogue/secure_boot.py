"""52 to 60: what a log says of Secure Boot, measured just so, and what is no PCR of a TPM."""

from __future__ import annotations

import struct
from dataclasses import replace

from attested_machine import DEFAULT, HOUR, LOG_ONLY, NOW, Machine, job, store_of
from conftest import entry as event
from conftest import hash_of, small_log
from secure_boot_logs import (
    AUTHORITY,
    DRIVER_CONFIG,
    GLOBAL,
    IMAGE_SECURITY,
    SECURE_BOOT_LOG,
    SHIM,
    Editor,
    hashes,
    variable,
)
from test_ccel import ccel
from test_event_data import gpt
from test_policy import with_dbx

from catalogue.scenarios import booted, entry, judged, passes
from pyverify import EventLog
from pyverify.appraise.secure_boot_rules import SecureBootRules
from pyverify.baseline.edits import edits
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import event_sequences
from pyverify.baseline.selection import Selection
from pyverify.baseline.supersede import Old
from pyverify.evidence.sbat import SbatRow

B = ["sha256"]


def boots(*edits):
    """The machine of the recorded log, and what it sends after each edit of that log."""
    machine = Machine(log=SECURE_BOOT_LOG)
    return judged(machine, *(booted(machine, edit(Editor(SECURE_BOOT_LOG)).build()) for edit in edits))


def secure_boot(content=b"\1", name="SecureBoot", guid=GLOBAL):
    return lambda log: log.set(log.find("SecureBoot"), variable(guid, name, content))


@entry(52)
def names_like_secure_boot():
    names = ["SecureBoot\0", "SecureBoot ", "\uff33ecureBoot", "secureBoot", "SecureBoo\u0301t"]

    def twin(log):
        return log.insert(log.find("PK"), DRIVER_CONFIG, variable(GLOBAL, "SecureBoot\0", b"\0"))

    return boots(secure_boot(guid=IMAGE_SECURITY), *(secure_boot(name=name) for name in names), twin)


@entry(53)
def secure_boot_twice():
    def again(content, at):
        return lambda log: log.insert(at(log), DRIVER_CONFIG, variable(GLOBAL, "SecureBoot", content))

    def swapped(log):
        return again(b"\1", lambda log: log.find("dbx") + 1)(log.content("SecureBoot", b"\0"))

    behind, end = (lambda log: log.find("dbx") + 1), (lambda log: len(log.entries))
    return boots(again(b"\0", behind), again(b"\1", behind), again(b"\0", end), swapped)


@entry(54)
def values_of_secure_boot():
    required = replace(DEFAULT, secure_boot=replace(DEFAULT.secure_boot, required=True))
    machine = Machine(log=SECURE_BOOT_LOG)
    contents = (b"", b"\1\0", b"\2", b"\xff")
    logs = [secure_boot(content)(Editor(SECURE_BOOT_LOG)).build() for content in contents]
    yield from judged(machine, *(booted(machine, log) for log in logs), policy=required)
    off = Machine(log=secure_boot(b"\0")(Editor(SECURE_BOOT_LOG)).build())  # learned so
    yield off.judge(policy=required)


@entry(55)
def authorities():
    evil = bytes(16) + hash_of("sha256", b"evil")
    return boots(
        lambda log: log.content("db", IMAGE_SECURITY + b"\x30\x82\0\4abcd", AUTHORITY),
        lambda log: log.content("db", evil, AUTHORITY),
        lambda log: log.remove(log.find("db", AUTHORITY)),
        lambda log: log.content("db", b""),
    )


@entry(56)
def sbat_level():
    """It is no signature: a log with it is read to its end, and another level is what differs."""
    machine = Machine(log=SECURE_BOOT_LOG)
    assert Editor(SECURE_BOOT_LOG).find("SbatLevel", AUTHORITY)
    assert "event.undecodable" not in {finding.code for finding in machine.judge().findings}
    older = Editor(SECURE_BOOT_LOG).content("SbatLevel", b"sbat,1,2021030218\n", AUTHORITY).build()
    twice = Editor(SECURE_BOOT_LOG)
    twice.insert(len(twice.entries), AUTHORITY, variable(SHIM, "SbatLevel", b"sbat,1,2021030218\n"))
    yield from judged(machine, booted(machine, older), booted(machine, twice.build()))


@entry(57)
def revocations_rolled_back(tmp_path):
    editor = Editor(SECURE_BOOT_LOG)
    dbx = editor.entries[editor.find("dbx")].variable[2]
    newer = Machine(log=Editor(SECURE_BOOT_LOG).content("dbx", dbx + hashes(b"\7" * 32)).build())
    yield from judged(newer, booted(newer, SECURE_BOOT_LOG))
    minimum = SecureBootRules(minimum_dbx=with_dbx(tmp_path, data=dbx + hashes(b"\7" * 32)).secure_boot.minimum_dbx)
    yield passes(newer.judge(policy=replace(DEFAULT, secure_boot=minimum)))
    as_learned = Machine(log=SECURE_BOOT_LOG)
    yield as_learned.judge(policy=replace(DEFAULT, secure_boot=minimum))
    yield newer.judge(policy=replace(DEFAULT, secure_boot=SecureBootRules(minimum_sbat=(SbatRow("shim", 99),))))
    before, after = (event_sequences(EventLog.parse(log))[7] for log in (SECURE_BOOT_LOG, newer.log))
    with store_of(tmp_path / "s", as_learned) as store:
        old = Old(NOW + 24 * HOUR)
        who = {"who": "ops", "reason": "dbx update"}
        Lifecycle(store).approve(Selection(everyone=True), edits(7, before, after), at=NOW, old=old, **who)
        logs = (SECURE_BOOT_LOG, newer.log, SECURE_BOOT_LOG)
        evidence = [newer.evidence(event_log=log, boot=str(i), boot_seq=i) for i, log in enumerate(logs)]
        first, second, third = job(store, *evidence, policy=LOG_ONLY)
        yield from (passes(first), passes(second), third)


@entry(58)
def partition_table_that_differs():
    """What is in PCR 5 may differ from what was used (CVE-2024-13745): it is told of and never relied on."""
    machine = Machine(log=small_log(B, extra=event(5, 0x80000006, gpt(4, 4), B)))
    other = small_log(B, extra=event(5, 0x80000006, gpt(2, 2), B))
    assert 5 not in DEFAULT.pcrs_compare
    yield from judged(machine, booted(machine, other))


@entry(59)
def measurement_registers():
    machine = Machine(banks=("sha384",), log=small_log(["sha384"]))
    log = ccel(event(1, 5, b"x", ["sha384"]), event(3, 5, b"x", ["sha384"]))
    as_pcrs = machine.evidence(event_log=log)
    as_registers = machine.evidence(event_log=machine.log, event_log_kind="ccel")
    # and where it says that it is one, a quote of PCRs is none of its registers
    told = machine.evidence(event_log=log, event_log_kind="ccel")
    yield from judged(machine, as_pcrs, as_registers, told)


@entry(60)
def records_of_nv_indices():
    machine = Machine()
    logs = []
    for index in (0x01C40200, 0x01C40201, 0xFFFFFFFF):
        record = struct.pack("<I", index) + event(0, 3, b"NvIndexInstance\0\1\0" + bytes(6), B)[4:]
        logs.append(small_log(B, extra=record))
    extended = small_log(B, extra=struct.pack("<I", 0x01C40200) + event(0, 5, b"x", B)[4:])
    yield from judged(machine, *(machine.evidence(event_log=log) for log in [*logs, extended]))
