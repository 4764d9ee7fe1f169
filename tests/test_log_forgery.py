"""Forged logs (SPEC section 10.2): each made from a recorded log that is clean, and told by the code it must get."""

from __future__ import annotations

import struct

import pytest
from conftest import ALGORITHMS, DATA, hash_of, replay_by_hand
from log_editor import Entry, Log, new

from pyverify import EventLog
from pyverify.appraise.data_findings import data_findings
from pyverify.appraise.structure import structure_findings
from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import UNKNOWN, VERIFIED, Rule, check_data
from pyverify.evidence.scanned import ScannedLogs

ALL = 31
ALGORITHM_BANKS = tuple(ALGORITHMS)


def findings(log: bytes, banks=ALL):
    scanned = ScannedLogs.of(Ragged.of([log]))
    assert scanned.rows["fault"][0] == 0
    found = [*data_findings(scanned, check_data(scanned, banks)), *structure_findings(scanned, banks)]
    assert all(row == 0 for row, _ in found)
    return [finding for _, finding in found]


def told(log: bytes, banks=ALL):
    """Code, severity, PCR and event number (as the log counts: the header is 0) of each finding."""
    return {(f.code, f.severity.value, f.pcr, f.event) for f in findings(log, banks)}


@pytest.fixture(params=["01_m1_first_boot", "60_sb_first_boot", "70_uki", "80_sm3_all_banks"])
def honest(request) -> Log:
    data = (DATA / "logs" / f"{request.param}.bin").read_bytes()
    log = Log.parse(data)
    assert log.bytes() == data
    assert told(data) == set()
    return log


def high(code: str, pcr: int | None, place: int | None):
    return (code, "high", pcr, None if place is None else place + 1)


def test_a_bank_that_firmware_never_extended(honest):
    """34: the OS fills a bank that firmware left alone; it may even log digests for it, of other PCRs."""
    for filling in (lambda one, bank: bytes(len(one.digests[bank])), lambda one, bank: None):
        log = honest.copy()
        bank = list(log[0].digests)[-1]
        for one in log:
            if one.pcr < 8 and one.type != types.EV_NO_ACTION:
                digest = filling(one, bank)
                if digest is None:
                    del one.digests[bank]
                else:
                    one.digests[bank] = digest
        found = {(f.code, f.bank) for f in findings(log.bytes()) if f.severity == "high"}
        assert ("bank.unextended", bank) in found
        assert all(code in ("bank.unextended", "event.data-mismatch") and b == bank for code, b in found)
        others = ALL & ~(1 << ALGORITHM_BANKS.index(bank))
        assert told(log.bytes(), others) == set()


@pytest.mark.parametrize(
    ("pcr", "old", "new_type", "severity"),
    [
        (4, types.EV_EFI_BOOT_SERVICES_APPLICATION, types.EV_EFI_PLATFORM_FIRMWARE_BLOB, "warning"),
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, 0x02, "high"),
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, 0x8401, "high"),
        (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, 0x90000001, "high"),
        (0, types.EV_EFI_PLATFORM_FIRMWARE_BLOB, types.EV_IPL, "warning"),
    ],
)
def test_a_relabelled_event(honest, pcr, old, new_type, severity):
    """36, 15: what a reader that goes by type would pass over."""
    log = honest.copy()
    place = log.find(pcr, old)
    log[place].type = new_type
    assert ("event.type-unexpected", severity, pcr, place + 1) in told(log.bytes())


def test_an_action_that_secure_boot_does_not_know(honest):
    log = honest.copy()
    place = log.find(7, types.EV_SEPARATOR)
    log.insert(place, new(log, 7, types.EV_EFI_ACTION, b"All is well"))
    assert told(log.bytes()) == {high("event.type-unexpected", 7, place)}
    log[place] = new(log, 7, types.EV_EFI_ACTION, b"DMA Protection Disabled\0")
    assert told(log.bytes()) == set()  # the words are known: what they mean is another check's


CHANGEABLE = [
    (0, types.EV_S_CRTM_VERSION, b""),
    (1, types.EV_EFI_VARIABLE_BOOT, b""),
    (4, types.EV_EFI_ACTION, b"Calling"),
    (7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, "SecureBoot".encode("utf-16-le")),
    (7, types.EV_EFI_VARIABLE_AUTHORITY, b""),
    (5, types.EV_EFI_GPT_EVENT, b""),
    (8, types.EV_IPL, b"grub_cmd: "),
    (5, types.EV_EFI_ACTION, b"Exit Boot Services Returned"),
]


def _place(log: Log, event) -> int:
    try:
        return log.find(*event)
    except LookupError:
        pytest.skip("this boot has no such event")


@pytest.mark.parametrize("event", CHANGEABLE)
def test_data_that_is_not_what_was_measured(honest, event):
    """38: data altered, digest kept."""
    log = honest.copy()
    place = _place(log, event)
    data = log[place].data
    for forged in (data[:-2] + b"\x55" + data[-1:], data + b"!", data[:-1], data + b"\0"):
        if forged.rstrip(b"\0") == data.rstrip(b"\0") and event[1] == types.EV_IPL:
            continue  # the NUL of a text of GRUB's may or may not be hashed
        if forged == data + forged[-1:] and event[1] == types.EV_EFI_VARIABLE_AUTHORITY:
            continue  # one byte more is what an old shim logged: it is no part of the variable
        log[place].data = forged
        assert high("event.data-mismatch", event[0], place) in told(log.bytes()), forged[-4:]


@pytest.mark.parametrize("event", CHANGEABLE)
def test_data_that_is_right_in_one_bank_only(honest, event):
    """39: the finding says in which bank it is not, and only there."""
    place = _place(honest, event)
    for bank in honest[place].digests:
        log = honest.copy()
        digest = log[place].digests[bank]
        log[place] = log[place].with_digest(bank, bytes([digest[0] ^ 1]) + digest[1:])
        (finding,) = (f for f in findings(log.bytes()) if f.code == "event.data-mismatch")
        assert (finding.bank, finding.event, finding.severity) == (bank, place + 1, "high")
        assert finding.actual == log[place].digests[bank]
        assert told(log.bytes(), ALL & ~(1 << ALGORITHM_BANKS.index(bank))) == set()


def test_a_file_name_under_anothers_digest_is_never_proven(honest):
    """35: what a digest outside the log covers is not told by its data, whatever that says."""
    try:
        place = honest.find(9, types.EV_IPL)
    except LookupError:
        place = honest.find(4, types.EV_EFI_BOOT_SERVICES_APPLICATION)
    log = honest.copy()
    log[place].data = b"(hd0,gpt1)/golden/vmlinuz\0"
    checks = check_data(ScannedLogs.of(Ragged.of([log.bytes()])), ALL)
    assert (checks.verified[place + 1], checks.part_size[place + 1]) == (UNKNOWN, 0)
    assert told(log.bytes()) == set()


def test_the_label_of_a_text_is_no_part_of_what_is_proven(honest):
    """37: a command called a kernel's command line still fits its digest, which covers what follows the label."""
    place = _place(honest, (8, types.EV_IPL, b"grub_cmd: "))
    log = honest.copy()
    text = log[place].data.removeprefix(b"grub_cmd: ")
    log[place].data = b"kernel_cmdline: " + text
    checks = check_data(ScannedLogs.of(Ragged.of([log.bytes()])), ALL)
    assert (checks.verified[place + 1], checks.rule[place + 1]) == (VERIFIED, Rule.TEXT)
    assert (checks.part_at[place + 1], checks.part_size[place + 1]) == (16, len(text) - 1)


def test_two_rules_do_not_add_up(honest):
    """39: a boot variable hashed whole in one bank and by its data in the others fits no firmware."""
    log = honest.copy()
    place = log.find(1, types.EV_EFI_VARIABLE_BOOT)
    bank = list(log[place].digests)[-1]
    log[place] = log[place].with_digest(bank, hash_of(bank, log[place].data))
    assert told(log.bytes()) == {high("event.data-mismatch", 1, place)}


def test_boot_variables_of_both_forms_in_one_log(honest):
    log = honest.copy()
    place = log.find(1, types.EV_EFI_VARIABLE_BOOT)
    log[place] = log[place].rehashed()
    assert told(log.bytes()) == {("event.data-known-deviation", "warning", 1, place + 1)}


@pytest.mark.parametrize("pcr", range(8))
def test_a_separator_with_another_digest(honest, pcr):
    """40: what is called a separator, and is none."""
    log = honest.copy()
    place = log.find(pcr, types.EV_SEPARATOR)
    log[place].digests = {bank: hash_of(bank, b"payload") for bank in log[place].digests}
    assert told(log.bytes()) == {high("separator.disguised", pcr, place), high("event.data-mismatch", pcr, place)}
    log = honest.copy()
    log[place] = log[place].with_digest("sha256", hash_of("sha256", b"payload"))
    assert high("separator.disguised", pcr, place) in told(log.bytes())
    assert told(log.bytes(), ALL & ~2) == set()


@pytest.mark.parametrize("value", [bytes(4), b"\xff" * 4, b"\1\0\0\0"])
@pytest.mark.parametrize(("pcr", "type"), [(4, types.EV_EFI_ACTION), (8, types.EV_IPL), (7, 0x02), (0, 0x90000001)])
def test_a_separator_under_another_type(honest, pcr, type, value):
    """40: the digest of a separator moves a boundary, whatever the event is called, and if only in one bank."""
    log = honest.copy()
    place = log.find(4, types.EV_SEPARATOR)
    one = new(log, pcr, type, b"harmless")
    bank = list(one.digests)[-1]
    log.insert(place, one.with_digest(bank, hash_of(bank, value)))
    assert high("separator.disguised", pcr, place) in told(log.bytes())


def test_a_relabelled_separator(honest):
    log = honest.copy()
    place = log.find(5, types.EV_SEPARATOR)
    log[place].type = types.EV_EVENT_TAG
    assert told(log.bytes()) == {high("separator.disguised", 5, place)}


def test_a_boot_order_that_reads_like_an_error_separator_is_none(honest):
    """BootOrder 0001, 0000 is 01000000: a log of the corpus has it."""
    log = honest.copy()
    place = log.find(1, types.EV_EFI_VARIABLE_BOOT, "BootOrder".encode("utf-16-le"))
    data = log[place].data
    head = data[:24] + struct.pack("<Q", 4) + data[32 : 32 + 18]
    log[place] = Entry(1, log[place].type, {b: hash_of(b, b"\1\0\0\0") for b in log[place].digests}, head + b"\1\0\0\0")
    assert told(log.bytes()) == set()
    log[place].type = types.EV_PLATFORM_CONFIG_FLAGS
    again = high("separator.duplicate", 1, log.find(1, types.EV_SEPARATOR))
    assert told(log.bytes()) == {high("separator.disguised", 1, place), again}


@pytest.mark.parametrize("pcr", range(8))
def test_separators_missing_and_twice(honest, pcr):
    """41, and a log that was cut between two entries (10)."""
    place = honest.find(pcr, types.EV_SEPARATOR)
    log = honest.copy()
    one = log.pop(place)
    assert told(log.bytes()) == {high("separator.missing", pcr, None)}
    log = honest.copy()
    log.insert(place + 3, one)
    assert told(log.bytes()) == {high("separator.duplicate", pcr, place + 3)}


def test_no_separator_at_all(honest):
    log = Log(honest.header, [one for one in honest if one.type != types.EV_SEPARATOR])
    found = told(log.bytes())
    assert {high("separator.missing", pcr, None) for pcr in range(8)} <= found
    assert {f.bank for f in findings(log.bytes()) if f.code == "bank.unextended"} == set(log[0].digests)


def test_values_of_separators(honest):
    """41: FFFFFFFF is one, 01000000 says error, whatever the data is; anything else is none."""
    place = honest.find(3, types.EV_SEPARATOR)
    for value, data, expected in (
        (b"\xff" * 4, b"\xff" * 4, set()),
        (b"\1\0\0\0", b"\1\0\0\0", {high("separator.error", 3, place)}),
        (b"\1\0\0\0", b"vendor: fan 2 broken", {high("separator.error", 3, place)}),
        (b"\2\0\0\0", b"\2\0\0\0", {high("separator.disguised", 3, place)}),
    ):
        log = honest.copy()
        log[place] = Entry(3, types.EV_SEPARATOR, {b: hash_of(b, value) for b in log[place].digests}, data)
        assert told(log.bytes()) == expected


def _no_action(log: Log, pcr: int, data: bytes) -> Entry:
    return Entry(pcr, types.EV_NO_ACTION, {bank: bytes(ALGORITHMS[bank][1]) for bank in log[-1].digests}, data)


LOCALITY = b"StartupLocality\0"


@pytest.mark.parametrize(
    ("pcr", "data", "late"),
    [
        (0, LOCALITY + b"\1", False),
        (0, LOCALITY + b"\2", False),
        (0, LOCALITY + b"\xff", False),
        (0, LOCALITY + b"\3\0", False),
        (0, LOCALITY, False),
        (5, LOCALITY + b"\3", False),
        (0, LOCALITY + b"\3", True),
    ],
)
def test_a_start_that_firmware_does_not_log(honest, pcr, data, late):
    """42: value, size, PCR and place of StartupLocality; the event is named."""
    log = honest.copy()
    place = log.find(0, types.EV_SEPARATOR) + 1 if late else 0
    log.insert(place, _no_action(log, pcr, data))
    assert told(log.bytes()) == {high("replay.start", pcr, place)}


def test_two_starts(honest):
    log = honest.copy()
    log.insert(0, _no_action(log, 0, LOCALITY + b"\0"))
    assert told(log.bytes()) == set()
    log.insert(1, _no_action(log, 0, LOCALITY + b"\3"))
    assert told(log.bytes()) == {high("replay.start", 0, 1)}
    log[0] = _no_action(log, 0, LOCALITY + b"\4")
    assert told(log.bytes()) == {high("replay.start", 0, 0), high("replay.start", 0, 1)}  # 4 wants an H-CRTM event


def test_a_start_is_never_guessed(honest):
    """43: a locality that is put in or taken out changes what PCR 0 replays to, and nothing puts it right."""
    before = EventLog.parse(honest.bytes()).replay()["sha256"][0].tobytes()
    log = honest.copy()
    log.insert(0, _no_action(log, 0, LOCALITY + b"\3"))
    after = EventLog.parse(log.bytes()).replay()["sha256"][0].tobytes()
    assert before != after == replay_by_hand(log.bytes())["sha256"][0]


def test_a_real_event_called_no_action(honest):
    """44: it is told by its digest, and the replay no longer comes to the same value."""
    log = honest.copy()
    place = log.find(4, types.EV_EFI_BOOT_SERVICES_APPLICATION)
    log[place].type = types.EV_NO_ACTION
    assert told(log.bytes()) == {("event.no-action-digest", "warning", 4, place + 1)}
    values = (EventLog.parse(one.bytes()).replay()["sha256"][4].tobytes() for one in (honest, log))
    assert len(set(values)) == 2


def test_the_digest_of_a_no_action_event_is_never_extended(honest):
    """45: what tpm2-tools 5.4 does."""
    log = honest.copy()
    digests = {bank: hash_of(bank, b"x") for bank in log[-1].digests}
    log.insert(0, Entry(0, types.EV_NO_ACTION, digests, b"x"))
    assert told(log.bytes()) == {("event.no-action-digest", "warning", 0, 1)}
    before, after = (EventLog.parse(one.bytes()).replay() for one in (honest, log))
    assert all((before[bank] == after[bank]).all() for bank in before)


def test_a_second_header_is_told_with_its_number(honest):
    log = honest.copy()
    log.insert(4, _no_action(log, 0, log.header[32:]))
    assert told(log.bytes()) == {("event.duplicate-header", "warning", 0, 5)}


def test_order_across_pcrs_proves_nothing_and_is_not_judged(honest):
    """47: the same events sorted by PCR replay to the same values; only ExitBootServices is looked for."""
    log = Log(honest.header, sorted(honest, key=lambda one: one.pcr))
    before, after = (EventLog.parse(one.bytes()).replay() for one in (honest, log))
    assert all((before[bank] == after[bank]).all() for bank in before)
    assert {code for code, *_ in told(log.bytes())} <= {"event.after-exit-boot-services"}
    log = Log(honest.header, sorted(honest, key=lambda one: (one.pcr == 5, one.pcr)))
    assert told(log.bytes()) == set()


@pytest.mark.parametrize("pcr", range(8))
def test_what_is_measured_after_exit_boot_services(honest, pcr):
    """50: not firmware's. PCR 8 and above are the system's."""
    log = honest.copy()
    log.append(new(log, pcr, types.EV_EFI_ACTION, b"Calling EFI Application from Boot Option"))
    assert high("event.after-exit-boot-services", pcr, len(honest)) in told(log.bytes())
    log[-1].pcr = 8 + pcr
    assert told(log.bytes()) == set()


def test_a_failed_exit_is_tried_again(honest):
    log = honest.copy()
    place = log.find(5, types.EV_EFI_ACTION, b"Returned with Success")
    success = log[place]
    log[place] = success.rehashed(b"Exit Boot Services Returned with Failure")
    log.insert(place + 1, success.rehashed(b"Exit Boot Services Invocation"))
    log.insert(place + 2, success)
    assert told(log.bytes()) == set()
    log[place + 1] = log[place + 1].with_digest("sha256", hash_of("sha256", b"mine"))
    assert high("event.after-exit-boot-services", 5, place + 1) in told(log.bytes())


def test_the_end_of_boot_services_is_known_by_its_digest(honest):
    """50: an invocation under another name still ends the firmware's rule."""
    log = honest.copy()
    log[log.find(5, types.EV_EFI_ACTION, b"Invocation")].type = types.EV_EVENT_TAG
    log.append(new(log, 2, types.EV_EFI_ACTION, b"late"))
    assert high("event.after-exit-boot-services", 2, len(honest)) in told(log.bytes())


NAME = "SecureBoot".encode("utf-16-le")
TWINS = {
    "another GUID": lambda data: b"\xcb" + data[1:],
    "a NUL": lambda data: data[:16] + struct.pack("<QQ", 11, 1) + NAME + b"\0\0" + data[-1:],
    "a twin": lambda data: data.replace(NAME, "ＳecureBoot".encode("utf-16-le")),  # noqa: RUF001
    "a blank": lambda data: data[:16] + struct.pack("<QQ", 11, 1) + NAME + b" \0" + data[-1:],
    "a swap of name and data": lambda data: data[:16] + struct.pack("<QQ", 9, 3) + data[32:],
}


@pytest.mark.parametrize("twin", TWINS.values(), ids=TWINS)
def test_secure_boot_under_another_name_does_not_fit_its_digest(honest, twin):
    """52, as data: whatever a name looks like, the digest is over its code units."""
    log = honest.copy()
    place = log.find(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, NAME)
    forged = twin(log[place].data)
    assert forged != log[place].data
    log[place].data = forged
    assert told(log.bytes()) == {high("event.data-mismatch", 7, place)}


def test_a_variable_hashed_without_its_name_is_never_excused_in_pcr_7(honest):
    """52: the digest of the data alone would let anybody choose the name."""
    log = honest.copy()
    place = log.find(7, types.EV_EFI_VARIABLE_DRIVER_CONFIG, NAME)
    log[place].digests = {bank: hash_of(bank, log[place].data[-1:]) for bank in log[place].digests}
    assert told(log.bytes()) == {high("event.data-mismatch", 7, place)}
    log[place].pcr = 1
    assert told(log.bytes()) == {("event.data-known-deviation", "warning", 1, place + 1)}


@pytest.mark.parametrize("index", [0x01C40200, 0x01C40201, 0xFFFFFFFF])
def test_records_of_nv_indices_extend_nothing_and_are_no_finding(honest, index):
    """60: they have digests, and a handle for a PCR."""
    log = honest.copy()
    log.insert(3, new(log, index, types.EV_NO_ACTION, b"NvIndexInstance\0"))
    assert told(log.bytes()) == set()
    forged = log.copy()
    forged.insert(5, new(log, 0, types.EV_NO_ACTION, b"x"))
    assert told(forged.bytes()) == {("event.no-action-digest", "warning", 0, 6)}
    before, after = (EventLog.parse(one.bytes()).replay() for one in (honest, log))
    assert all((before[bank] == after[bank]).all() for bank in before)


def test_a_log_of_nothing_but_reasons_gets_a_bounded_number_of_findings(honest):
    log = honest.copy()
    log.extend([new(log, 7, types.EV_IPL, bytes(4))] * 500)
    log.extend([Entry(0, types.EV_EFI_ACTION, log[-1].digests, b"lie")] * 500)
    found = findings(log.bytes())
    assert len(found) < 150
    (last,) = (f for f in found if f.code == "event.data-mismatch" and "more events" in f.hint)
    assert "484 more events of this PCR are like it" in last.hint


def test_a_forged_log_tells_nothing_of_its_neighbours(honest):
    log = honest.copy()
    log.append(new(log, 7, types.EV_SEPARATOR, bytes(4)))
    good = honest.bytes()
    scanned = ScannedLogs.of(Ragged.of([good, log.bytes(), good[:-1], None, good]))
    found = {row for row, _ in structure_findings(scanned, ["sha256"])}
    found |= {row for row, _ in data_findings(scanned, check_data(scanned, ["sha256"]))}
    assert found == {1}
