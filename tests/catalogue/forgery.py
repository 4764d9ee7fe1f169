"""31 to 51: forged logs. What a quote proves is digests and their order within a PCR, in the quoted banks."""

from __future__ import annotations

from dataclasses import replace

from attested_machine import ALL_PCRS, Machine, booted_evil
from conftest import ALGORITHMS, hash_of, small_log
from conftest import entry as event
from log_editor import Entry, Log, new
from secure_boot_logs import DRIVER_CONFIG, SECURE_BOOT_LOG
from tpm_in_python import Tpm

from catalogue.scenarios import booted, entry, judged, passes
from pyverify import EventLog

B = ["sha256"]
BOTH = ("sha1", "sha256")
SM3 = ("sha256", "sm3_256")
EVIL = b"init=/bin/sh"
NO_ACTION, SEPARATOR, EFI_ACTION, EFI_IMAGE = 3, 4, 0x80000007, 0x80000003
LOCALITY = b"StartupLocality\0"


def edited(log: bytes, *changes) -> list[bytes]:
    """The log after each of these changes to a copy of it."""
    logs = []
    for change in changes:
        one = Log.parse(log)
        change(one)
        logs.append(one.bytes())
    return logs


def mixed(of: dict[str, bytes]) -> bytes:
    """The log whose digests are in each bank those of another log; data as in the first."""
    parsed = {bank: Log.parse(log) for bank, log in of.items()}
    first = next(iter(parsed.values())).copy()
    for place, one in enumerate(first):
        one.digests = {bank: parsed[bank][place].digests[bank] for bank in one.digests}
    return first.bytes()


@entry(31)
def forged_digests_in_a_bank_that_is_not_quoted():
    machine = Machine(banks=BOTH, quoted_banks=B)
    golden = machine.log
    log, references = booted_evil(machine, EVIL)
    forged = mixed({"sha1": log, "sha256": golden})
    by_sha1 = machine.quote([("sha1", ALL_PCRS)])
    honest = Tpm.booted(golden).quote(machine.selection, machine.nonce, machine.key)
    attacks = [machine.evidence(by_sha1, event_log=sent) for sent in (forged, golden, log)]
    yield from judged(machine, *attacks, references=references, honest=[machine.evidence(honest, event_log=golden)])


@entry(32)
def one_of_two_quoted_banks():
    machine = Machine(banks=BOTH)
    log, references = booted_evil(machine, EVIL)
    golden = small_log(list(BOTH))
    honest = Tpm.booted(golden).quote(machine.selection, machine.nonce, machine.key)
    half = [mixed({"sha1": log, "sha256": golden}), mixed({"sha1": golden, "sha256": log}), golden]
    attacks = [machine.evidence(event_log=sent) for sent in half]
    yield from judged(machine, *attacks, references=references, honest=[machine.evidence(honest, event_log=golden)])


@entry(33)
def bank_taken_out():
    machine = Machine(banks=BOTH)
    without = small_log(["sha1"])
    by_sha1 = machine.quote([("sha1", ALL_PCRS)])
    attacks = [machine.evidence(event_log=without)]
    attacks += [machine.evidence(by_sha1, event_log=log) for log in (without, machine.log)]
    yield from judged(machine, *attacks)


@entry(34)
def bank_that_firmware_left_open():
    """Carte Blanche: the OS fills a bank with what a golden log says (CVE-2021-42299). The other bank tells."""
    machine = Machine(banks=BOTH)
    golden = Log.parse(machine.log)
    evil = golden.copy()
    place = evil.find(4, EFI_IMAGE)
    evil[place].digests = {bank: hash_of(bank, b"another loader") for bank in BOTH}
    honest, references = machine.evidence(), machine.references()
    machine.tpm = Tpm.booted(evil.bytes())
    machine.tpm.pcrs["sha256"] = Tpm.booted(machine.log).pcrs["sha256"]
    unlogged = evil.copy()
    for one in unlogged:
        one.digests["sha256"] = bytes(32)
    half = golden.copy()
    half[place] = half[place].with_digest("sha1", evil[place].digests["sha1"])
    attacks = [machine.evidence(event_log=log.bytes()) for log in (unlogged, golden, half)]
    yield from judged(machine, *attacks, references=references, honest=[honest])


@entry(35)
def names_under_digests():
    """What a digest outside of the log covers is not told by the data beside it."""
    machine = Machine()
    golden = Log.parse(machine.log)
    place = golden.find(4, EFI_IMAGE)
    data = golden[place].data.replace("loader".encode("utf-16-le"), "golden".encode("utf-16-le"))
    (renamed,) = edited(machine.log, lambda log: setattr(log[place], "data", data))
    assert EventLog.parse(renamed)[place + 1].digests == EventLog.parse(machine.log)[place + 1].digests
    (evil,) = edited(
        machine.log, lambda log: setattr(log[place], "digests", {"sha256": hash_of("sha256", b"another loader")})
    )
    yield from judged(machine, machine.evidence(event_log=renamed), booted(machine, evil))


@entry(36)
def relabelled_with_a_fake_behind():
    machine = Machine(log=SECURE_BOOT_LOG)
    log = Log.parse(SECURE_BOOT_LOG)
    forged = []
    for place, other in (
        (log.find(7, DRIVER_CONFIG), 0x02),
        (log.find(4, EFI_IMAGE), 0x80000008),
    ):
        one = log.copy()
        fake = replace(one[place])
        one[place].type = other
        one.insert(place + 1, fake.rehashed())
        forged.append(booted(machine, one.bytes()))
    yield from judged(machine, *forged)


@entry(37)
def label_of_a_text():
    machine = Machine(
        log=small_log(B, extra=event(8, 0xD, b"grub_cmd: boot\0", B, {"sha256": hash_of("sha256", b"boot")}))
    )
    (relabelled,) = edited(
        machine.log, lambda log: setattr(log[log.find(8, 0xD, b"grub_cmd")], "data", b"kernel_cmdline: boot\0")
    )
    other = small_log(B, extra=event(8, 0xD, b"kernel_cmdline: boot x\0", B, {"sha256": hash_of("sha256", b"boot x")}))
    yield from judged(machine, machine.evidence(event_log=relabelled), booted(machine, other))


@entry(38)
def data_altered():
    machine = Machine(log=SECURE_BOOT_LOG)

    def alter(pcr, type):
        def change(log):
            place = log.find(pcr, type)
            log[place].data = log[place].data[:-1] + bytes([log[place].data[-1] ^ 1])

        return change

    changes = [alter(0, 8), alter(7, DRIVER_CONFIG), alter(1, 0x80000002), alter(5, EFI_ACTION)]
    yield from judged(machine, *(machine.evidence(event_log=log) for log in edited(SECURE_BOOT_LOG, *changes)))


@entry(39)
def data_right_in_one_bank():
    machine = Machine(banks=SM3)

    def wrong_in(bank):
        def change(log):
            place = log.find(0, 8)
            log[place] = log[place].with_digest(bank, hash_of(bank, b"other"))

        return change

    logs = edited(machine.log, *map(wrong_in, SM3))
    learned = [Machine(banks=SM3, log=log) for log in logs]  # so that nothing but the data differs
    yield from judged(machine, *(booted(machine, log) for log in logs))
    for one in learned:
        yield one.judge()


@entry(40)
def separators_in_disguise():
    machine = Machine()

    def other_digest(log):
        place = log.find(2, SEPARATOR)
        log[place].digests = {"sha256": hash_of("sha256", b"payload")}

    def other_type(pcr, type):
        def change(log):
            log.insert(log.find(4, SEPARATOR), Entry(pcr, type, {"sha256": hash_of("sha256", bytes(4))}, b"harmless"))

        return change

    logs = edited(machine.log, other_digest, other_type(4, 5), other_type(8, 0xD), other_type(7, EFI_ACTION))
    yield from judged(machine, *(booted(machine, log) for log in logs))


@entry(41)
def separators():
    machine = Machine()

    def value(data):
        def change(log):
            log[log.find(3, SEPARATOR)] = new(log, 3, SEPARATOR, data)

        return change

    def again(log):
        log.insert(log.find(3, SEPARATOR) + 2, new(log, 3, SEPARATOR, bytes(4)))

    changes = (again, lambda log: log.pop(log.find(6, SEPARATOR)), value(b"\1\0\0\0"), value(b"\2\0\0\0"))
    yield from judged(machine, *(booted(machine, log) for log in edited(machine.log, *changes)))
    ones = Machine(log=edited(machine.log, value(b"\xff" * 4))[0])
    yield passes(ones.judge())  # that firmware was started without a setup is no fault of it


def no_action_of(log: Log, pcr: int, data: bytes) -> Entry:
    return Entry(pcr, NO_ACTION, {bank: bytes(ALGORITHMS[bank][1]) for bank in log[-1].digests}, data)


@entry(42)
def start_values():
    machine = Machine()

    def start(pcr, data, place=0):
        return lambda log: log.insert(place, no_action_of(log, pcr, data))

    def twice(log):
        start(0, LOCALITY + b"\3")(log)
        start(0, LOCALITY + b"\4")(log)

    single = [start(0, LOCALITY + value) for value in (b"\1", b"\2", b"\xff", b"\3\0", b"")]
    changes = (*single, start(5, LOCALITY + b"\3"), start(0, LOCALITY + b"\3", 4), twice)
    yield from judged(machine, *(machine.evidence(event_log=log) for log in edited(machine.log, *changes)))


@entry(43)
def start_value_put_in_or_taken_out():
    plain = Machine()
    (started,) = edited(plain.log, lambda log: log.insert(0, no_action_of(log, 0, LOCALITY + b"\3")))
    other = Machine(log=started)
    yield from judged(plain, plain.evidence(event_log=started))
    yield from judged(other, other.evidence(event_log=plain.log))


@entry(44)
def called_no_action():
    machine = Machine()
    log, references = booted_evil(machine, EVIL)
    relabelled = Log.parse(log)
    place = relabelled.find(8, 0xD)
    relabelled[place].type = NO_ACTION
    hidden = relabelled.copy()
    hidden.insert(place, Log.parse(small_log(B))[place])
    honest = Tpm.booted(small_log(B)).quote(machine.selection, machine.nonce, machine.key)
    unquoted = machine.quote([("sha256", [pcr for pcr in ALL_PCRS if pcr != 8])])
    attacks = [machine.evidence(event_log=one.bytes()) for one in (relabelled, hidden)]
    attacks += [machine.evidence(unquoted, event_log=one.bytes()) for one in (relabelled, hidden)]
    sound = [machine.evidence(honest, event_log=small_log(B))]
    yield from judged(machine, *attacks, references=references, honest=sound)


@entry(45)
def digest_of_no_action():
    machine = Machine()
    (noted,) = edited(machine.log, lambda log: log.insert(1, new(log, 0, NO_ACTION, b"a note")))
    extended = Tpm.booted(machine.log)
    extended.pcrs["sha256"][0] = hash_of("sha256", bytes(32) + hash_of("sha256", b"a note"))
    quote = extended.quote(machine.selection, machine.nonce, machine.key)
    yield from judged(machine, machine.evidence(event_log=noted), machine.evidence(quote, event_log=noted))


@entry(46)
def order_within_a_pcr():
    machine = Machine(log=small_log(B, extra=event(8, 0xD, b"second", B) + event(8, 0xD, b"third", B)))

    def swap(log):
        at = log.find(8, 0xD, b"second")
        log[at], log[at + 1] = log[at + 1], log[at]

    (swapped,) = edited(machine.log, swap)
    yield from judged(machine, machine.evidence(event_log=swapped), booted(machine, swapped))


@entry(47)
def order_across_pcrs():
    machine = Machine(log=SECURE_BOOT_LOG)
    log = Log.parse(SECURE_BOOT_LOG)
    by_pcr = Log(log.header, sorted(log, key=lambda one: (one.pcr == 5, one.pcr)))
    yield from judged(machine, machine.evidence(event_log=by_pcr.bytes()))


@entry(48)
def end_cut_off():
    extra = event(8, 0xD, b"module", B)
    machine = Machine(log=small_log(B, extra=extra))
    shorter = small_log(B)
    before = Tpm.booted(shorter)
    earlier = before.quote(machine.selection, bytes(32), machine.key)
    answers = before.quote(machine.selection, machine.nonce, machine.key)
    attacks = [machine.evidence(quote, event_log=shorter) for quote in (machine.quote(), earlier, answers)]
    yield from judged(machine, *attacks)


@entry(49)
def end_of_what_is_not_quoted():
    machine = Machine()
    some = machine.quote([("sha256", [pcr for pcr in ALL_PCRS if pcr != 5])])
    without_8 = machine.quote([("sha256", [pcr for pcr in ALL_PCRS if pcr != 8])])
    (cut,) = edited(machine.log, lambda log: log.pop())
    (of_8,) = edited(machine.log, lambda log: log.pop(log.find(8, 0xD)))
    first, last, honest, tail, hidden = judged(
        machine,
        machine.evidence(some),
        machine.evidence(some, event_log=cut),
        machine.evidence(without_8, event_log=of_8),
    )
    yield from (first, last, passes(honest), tail, hidden)
    assert all(not row["pcrs_proven"][0]["mask"] >> 5 & 1 for row in (honest, tail))
    assert all(row["pcrs_unproven"][0]["mask"] >> 5 & 1 for row in (honest, tail))


@entry(50)
def after_exit_boot_services():
    machine = Machine()
    logs = edited(
        machine.log, *(lambda log, pcr=pcr: log.append(new(log, pcr, EFI_ACTION, b"late")) for pcr in (0, 2, 4, 7))
    )
    yield from judged(machine, *(booted(machine, log) for log in logs))


@entry(51)
def extended_and_not_logged():
    machine = Machine()
    honest = machine.evidence()
    references = machine.references()
    capped = []
    for pcr in (7, 4, 11):
        machine.tpm = Tpm.booted(machine.log)
        machine.tpm.extend(pcr, b"cap")
        capped.append(machine.evidence())
    yield from judged(machine, *capped, references=references, honest=[honest])
