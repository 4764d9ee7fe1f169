"""What makes two boots one kind: honest variation that must not tell them apart, each beside a change that must."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest
from cel_writers import systemd_record
from conftest import DATA, entry, hash_of, shared, spec_id
from log_editor import Entry, Log, new
from test_ccel import ccel

from pyverify.algorithms import pcr_mask
from pyverify.baseline.cohort_rules import RULES, RULES_OF, Does
from pyverify.baseline.cohorts import COUNTED, COUNTED_REGISTERS, NormalBoot, normalise
from pyverify.evidence.columns import Ragged
from pyverify.evidence.log_kinds import transcode
from pyverify.evidence.scanned import ScannedLogs

GRUB, UKI = (Log.parse((DATA / "logs" / name).read_bytes()) for name in ("60_sb_first_boot.bin", "70_uki.bin"))
IPL, ACTION, GPT, BOOT, TAG = 0xD, 0x80000007, 0x80000006, 0x80000002, 6
ONE, OTHER = "f3948fb4-cce7-4193-940a-c50052e93bf3", "10d7f09f-7852-4b75-a2b6-2355d99b4376"
CALLING, RETURNING = b"Calling EFI Application from Boot Option", b"Returning from EFI Application from Boot Option"


def normal(log: bytes, kind: str | None = None, userspace: bytes | None = None) -> NormalBoot:
    transcoded = transcode(kind, log, userspace)
    scanned = ScannedLogs.of(Ragged.of([transcoded.log]))
    assert scanned.rows["fault"][0] == 0
    (boot,) = normalise(scanned, [kind == "ccel"])
    return boot


def keys(log: Log, userspace: bytes | None = None) -> dict[str, bytes]:
    boot = normal(log.bytes(), userspace=userspace)
    return {bank: boot.key(bank) for bank in boot.banks}


def alike(one: Log, other: Log, *userspace: bytes | None) -> bool:
    """Whether two logs are of one kind; it is the same in all banks."""
    first, second = (keys(log, data) for log, data in zip((one, other), userspace or (None, None), strict=True))
    same = {bank: first[bank] == second[bank] for bank in first}
    assert len(set(same.values())) == 1
    return same["sha256"]


def with_text(log: Log, text: str, *, prefix: bytes = b"kernel_cmdline: ", proven: bool = True) -> Log:
    """The log with another command line of GRUB's; its digest is that of the text, or of another one."""
    log = log.copy()
    hashed = text.encode() if proven else b"what was measured instead"
    data = prefix + text.encode() + b"\0"
    log.insert(log.find(8, IPL, b"kernel_cmdline"), grub(log, data, hashed))
    return log


def grub(log: Log, data: bytes, hashed: bytes) -> Entry:
    return Entry(8, IPL, {bank: hash_of(bank, hashed) for bank in log[-1].digests}, data)


def with_event(log: Log, pcr: int, kind: int, data: bytes, at: int | None = None) -> Log:
    log = log.copy()
    log.insert(len(log) if at is None else at, new(log, pcr, kind, data))
    return log


def edited(log: Log, place: int, data: bytes) -> Log:
    log = log.copy()
    log[place] = log[place].rehashed(data)
    return log


def variable(log: Log, pcr: int, kind: int, name: str) -> int:
    return log.find(pcr, kind, name.encode("utf-16-le"))


def test_only_the_pcrs_of_a_boot_count():
    assert pcr_mask([0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14]) == COUNTED
    assert pcr_mask([1, 2, 3]) == COUNTED_REGISTERS
    assert all(rule.why and rule.source for rule in RULES)
    assert all((rule.pattern is not None) == (rule.does in (Does.NAME, Does.LEAVE_OUT_TEXTS)) for rule in RULES)


def test_a_log_is_like_itself_and_unlike_another():
    assert alike(GRUB, GRUB.copy())
    assert not alike(GRUB, UKI)


@pytest.mark.parametrize("pcr", [1, 5, 6, 10, 15, 16, 17, 23])
def test_what_a_machine_or_its_run_time_measures_does_not_tell_machines_apart(pcr):
    assert alike(GRUB, with_event(GRUB, pcr, IPL, b"machine-id:54e4e23536524c529b66e491dfc77274"))


@pytest.mark.parametrize("pcr", [0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14])
def test_one_more_event_in_any_other_pcr_does(pcr):
    assert not alike(GRUB, with_event(GRUB, pcr, IPL, b"machine-id:54e4e23536524c529b66e491dfc77274"))


def test_boot_order_does_not_tell_machines_apart_but_secure_boot_does():
    order = variable(GRUB, 1, BOOT, "BootOrder")
    assert alike(GRUB, edited(GRUB, order, GRUB[order].data[:-2] + b"\7\0"))
    setting = variable(GRUB, 7, 0x80000001, "SecureBoot")
    assert not alike(GRUB, edited(GRUB, setting, GRUB[setting].data[:-1] + b"\0"))


def test_the_disks_guids_do_not_tell_machines_apart_but_the_image_from_it_does():
    table = GRUB.find(5, GPT)
    data = bytearray(GRUB[table].data)
    data[56:72] = bytes(range(16))  # DiskGUID
    moved = edited(GRUB, table, bytes(data))
    image = moved.find(4, 0x80000003, "shim".encode("utf-16-le"))
    guid = bytes.fromhex("8b3a9f10")[::-1]
    assert guid in moved[image].data
    moved[image] = replace(moved[image], data=moved[image].data.replace(guid, b"\1\2\3\4"))
    assert alike(GRUB, moved)
    moved[image] = moved[image].with_digest("sha256", bytes(32))
    assert keys(moved)["sha256"] != keys(GRUB)["sha256"]
    assert keys(moved)["sha384"] == keys(GRUB)["sha384"]


def attempts(log: Log, *events: Entry) -> Log:
    """A log whose first boot option did these things and returned."""
    log = log.copy()
    at = log.find(4, ACTION, CALLING)
    separator = log.find(4, 4)
    again = [*events, new(log, 4, ACTION, RETURNING), new(log, 4, ACTION, CALLING)]
    log[separator + 1 : separator + 1] = again
    assert at < separator
    return log


def test_a_boot_that_was_tried_again_is_the_same_kind_of_boot():
    shim = GRUB[GRUB.find(4, 0x80000003, "shim".encode("utf-16-le"))]
    for log in (attempts(GRUB), attempts(GRUB, shim), attempts(attempts(GRUB, shim), shim)):
        assert alike(GRUB, log)
    booting = with_event(GRUB, 4, ACTION, b"Booting to Boot0003 Option", GRUB.find(4, ACTION, CALLING) + 1)
    assert alike(GRUB, booting)


def test_an_unknown_image_that_returned_is_another_kind_of_boot():
    shim = GRUB[GRUB.find(4, 0x80000003, "shim".encode("utf-16-le"))]
    evil = replace(shim, digests={bank: hash_of(bank, b"evil") for bank in shim.digests})
    assert not alike(GRUB, attempts(GRUB, evil))
    assert not alike(GRUB, attempts(GRUB, shim, evil))
    assert not alike(GRUB, attempts(GRUB, shim.with_digest("sha1", bytes(20))))
    # Nothing returned: the loader ran twice.
    twice = GRUB.copy()
    twice.insert(twice.index(shim), shim)
    assert not alike(GRUB, twice)
    # What comes after the last return is the boot itself.
    last = GRUB.copy()
    last += [new(last, 4, ACTION, RETURNING), evil]
    assert not alike(GRUB, last)


@pytest.mark.parametrize(
    "words",
    [b"Booting to Boot0003 Option ", b"Booting to evil Option", b"Calling INT 19h", b"", b"Booting to Boot0003"],
)
def test_other_words_in_pcr_4_count(words):
    assert not alike(GRUB, with_event(GRUB, 4, ACTION, words))


def test_known_words_that_were_not_measured_count():
    log = with_event(GRUB, 4, ACTION, CALLING)
    assert alike(GRUB, log)
    log[-1] = replace(log[-1], digests={bank: hash_of(bank, b"evil") for bank in log[-1].digests})
    assert not alike(GRUB, log)
    known = with_event(GRUB, 8, ACTION, CALLING)
    assert not alike(GRUB, known)


PHASES = ["enter-initrd", "leave-initrd", "sysinit", "ready", "shutdown", "final"]
BANKS = list(UKI[-1].digests)


def userspace(*texts: str, pcr: int = 11) -> bytes:
    return b"".join(systemd_record(pcr, text, BANKS) for text in texts)


def test_how_far_a_boot_had_come_does_not_tell_machines_apart():
    for some in ([], PHASES[:2], PHASES):
        assert alike(UKI, UKI, None, userspace(*some))
    name = "nvpcr-init:hardware:0x1d10200:000b" + "ab" * 32
    assert alike(UKI, UKI, None, userspace(name, pcr=9))


@pytest.mark.parametrize(
    ("texts", "pcr"),
    [
        (["enter-initrd", "evil"], 11),
        (["Ready"], 11),
        (["ready\n"], 11),
        (["ready"], 12),
        (["nvpcr-init:hardware:0x1d10200"], 9),
        (["nvpcr-init:hardware:0x1d10200:" + "ab" * 67], 9),
        (["nvpcr-init:hardware:0x1d10200:00"], 11),
    ],
)
def test_other_words_of_systemd_count(texts, pcr):
    assert not alike(UKI, UKI, None, userspace(*texts, pcr=pcr))


MACHINE_IDS = ("54e4e23536524c529b66e491dfc77274", "2c7e6a881fd746b8acae4dd23f7f2d66")
NAMED = {
    "root file system": ("/vmlinuz root=UUID={} ro quiet", (ONE, OTHER)),
    "in capitals": ("/vmlinuz root=UUID={} ro quiet", (ONE, OTHER.upper())),
    "partition": ("/vmlinuz root=PARTUUID={} ro", (ONE, OTHER)),
    "partition of an MBR": ("/vmlinuz root=PARTUUID={} ro", ("0a1b2c3d-01", "ffffffff-02")),
    "FAT": ("/vmlinuz root=UUID={} ro", ("A1B2-C3D4", "0000-FFFF")),
    "encrypted volume": ("/vmlinuz rd.luks.uuid=luks-{} ro", (ONE, OTHER)),
    "in quotes": ('set root="{}"', (ONE, OTHER)),
    "swap": (f"/vmlinuz root=UUID={ONE} resume=UUID={{}}", (ONE, OTHER)),
    "search": ("search --no-floppy --fs-uuid --set=root --hint-bios=hd0,gpt2 {}", (ONE, OTHER)),
    "machine-id": ("/vmlinuz systemd.machine_id={} ro", MACHINE_IDS),
    "boot entry": ("set default={}-4.18.0-240.22.1.el8_3.x86_64", MACHINE_IDS),
    "entry's folder": ("linux /{}/6.1.0/linux ro", MACHINE_IDS),
}


@pytest.mark.parametrize("name", NAMED)
def test_a_proven_identifier_of_the_machine_does_not_tell_machines_apart(name):
    text, (one, other) = NAMED[name]
    first, second = (with_text(GRUB, text.format(identifier)) for identifier in (one, other))
    assert alike(first, second)
    assert not alike(first, with_text(GRUB, text.format(other) + " init=/bin/sh"))
    assert not alike(first, with_text(GRUB, "evil" + text.format(other)))
    assert not alike(first, with_text(GRUB, text.format(other), proven=False))
    assert not alike(with_text(GRUB, text.format(one), proven=False), second)
    assert not alike(first, with_text(GRUB, text.format("")))


def test_text_that_is_not_what_was_measured_counts_by_its_digest():
    one, other = (with_text(GRUB, f"/vmlinuz root=UUID={identifier}", proven=False) for identifier in (ONE, OTHER))
    assert alike(one, other)  # both measured the same, whatever they say


def test_the_name_that_takes_an_identifiers_place_is_not_itself_one():
    text = "/vmlinuz root=UUID={}"
    assert not alike(with_text(GRUB, text.format(ONE)), with_text(GRUB, text.format("<uuid>")))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("roothash=" + "a" * 32, "roothash=" + "b" * 32),
        ("roothash=" + "a" * 64, "roothash=" + "b" * 64),
        ("usrhash=" + MACHINE_IDS[0] + "-", "usrhash=" + MACHINE_IDS[1] + "-"),
        ("isolcpus=1000-2000", "isolcpus=1000-3000"),
        (f"x{ONE}", f"x{OTHER}"),
        (f"{ONE}0", f"{OTHER}0"),
        ("PARTUUID=0a1b2c3d-01f", "PARTUUID=0a1b2c3e-01f"),
        ("root=UUID=A1B2-C3D4-0", "root=UUID=A1B2-C3D5-0"),
        ("a" * 32, "b" * 32),
        ("linux /" + "a" * 32 + "x", "linux /" + "b" * 32 + "x"),
        ("machine_id=" + "a" * 33, "machine_id=" + "b" * 33),
        ("serial 0a1b2c3d-01", "serial 0a1b2c3e-01"),
        ("root=/dev/vda2", "root=/dev/vda3"),
    ],
)
def test_what_only_looks_like_an_identifier_counts(one, other):
    assert not alike(with_text(GRUB, one), with_text(GRUB, other))


def test_bytes_that_are_no_text_count_by_their_digest():
    one, other = (with_event(GRUB, 8, IPL, f"UUID={identifier}".encode() + b"\xff") for identifier in (ONE, OTHER))
    assert not alike(one, other)
    one, other = (with_event(GRUB, 8, IPL, f"UUID={identifier}\x01".encode()) for identifier in (ONE, OTHER))
    assert not alike(one, other)


def test_an_identifier_in_a_pcr_that_holds_no_texts_counts():
    one, other = (with_event(GRUB, 14, IPL, f"UUID={identifier}".encode()) for identifier in (ONE, OTHER))
    assert not alike(one, other)


def test_a_file_that_holds_an_identifier_counts_by_its_digest():
    """grub.cfg and boot entries: what is in them is not in the log, and a name proves nothing."""

    def with_file(contents: bytes) -> Log:
        log = GRUB.copy()
        digests = {bank: hash_of(bank, contents) for bank in log[-1].digests}
        log.append(Entry(9, IPL, digests, b"(hd0,gpt1)/EFI/debian/grub.cfg\0"))
        return log

    assert not alike(with_file(f"search {ONE}".encode()), with_file(f"search {OTHER}".encode()))


def stub(identifier: str, *, options: str | None = None, section: str | None = None) -> Log:
    """A boot by systemd's stub: the command line in PCR 12, and by its digest alone in PCR 9 and 11."""
    log = UKI.copy()
    text = f"root=UUID={identifier} ro"
    wide = (text + "\0").encode("utf-16-le")
    log.append(new(log, 12, IPL, wide))
    tag = log.find(9, TAG, b"LoadOptions")
    passed = wide if options is None else (options + "\0").encode("utf-16-le")
    log[tag] = replace(log[tag], digests={bank: hash_of(bank, passed) for bank in log[tag].digests})
    place = log.find(11, IPL, ".cmdline".encode("utf-16-le")) + 1
    contents = (text if section is None else section).encode()
    log[place] = replace(log[place], digests={bank: hash_of(bank, contents) for bank in log[place].digests})
    return log


def test_a_command_line_that_is_measured_again_is_known_again():
    assert alike(stub(ONE), stub(OTHER))
    evil = f"root=UUID={OTHER} ro init=/bin/sh"
    assert not alike(stub(ONE), stub(OTHER, options=evil))
    assert not alike(stub(ONE), stub(OTHER, section=evil))
    # The digest of a text that no event of this log proves.
    assert not alike(stub(ONE), stub(OTHER, options=f"root=UUID={ONE} ro"))
    unproven = stub(OTHER)
    place = unproven.find(12, IPL)
    unproven[place] = unproven[place].with_digest("sha256", bytes(32))
    assert not any(keys(unproven)[bank] == keys(stub(ONE))[bank] for bank in ("sha256", "sha384"))


def test_the_forms_in_which_a_command_line_is_measured_again_are_those_of_real_boots():
    folder = shared("recordings", "73_sdboot_uki")
    log = Log.parse((folder / "binary_bios_measurements").read_bytes())
    text = (folder / "cmdline").read_text().strip()
    measured = {(e.pcr, e.digests["sha256"]) for e in log}
    assert (9, hash_of("sha256", (text + "\0").encode("utf-16-le"))) in measured
    assert (11, hash_of("sha256", text.encode())) in measured


def test_where_pcr_0_started_counts():
    banks = ["sha256"]

    def log(locality: int) -> bytes:
        zero = {"sha256": bytes(32)}
        start = entry(0, 3, b"StartupLocality\0" + bytes([locality]), banks, zero)
        return spec_id(banks) + start + entry(0, 8, b"1\0\0\0", banks)

    assert normal(log(3)).key("sha256") == normal(log(3)).key("sha256") != normal(log(0)).key("sha256")


def test_keys_of_banks_differ_and_a_legacy_log_has_one():
    boot = normal(GRUB.bytes())
    assert boot.banks == ("sha256", "sha384", "sha512", "sha1")
    assert len({boot.key(bank) for bank in boot.banks}) == 4
    events = b"".join(
        struct.pack("<II", 4, ACTION) + hash_of("sha1", data) + struct.pack("<I", len(data)) + data
        for data in (CALLING, b"BOOT ATTEMPTS OMITTED")
    )
    assert normal(events).banks == ("sha1",)


def register_log(
    *, order: bytes = b"\1\0", disk: bytes = bytes(16), image: bytes = b"loader", action: int = 1
) -> bytes:
    banks = ["sha384"]
    table = GRUB[GRUB.find(5, GPT)].data
    name = "BootOrder".encode("utf-16-le")
    boot_order = bytes(16) + struct.pack("<QQ", 9, len(order)) + name + order
    return ccel(
        entry(1, BOOT, boot_order, banks, {"sha384": hash_of("sha384", order)}),
        *[entry(2, ACTION, CALLING, banks)] * action,
        entry(2, GPT, table[:56] + disk + table[72:], banks),
        entry(2, 0x80000003, bytes(32), banks, {"sha384": hash_of("sha384", image)}),
        entry(4, IPL, disk, banks),
    )


def test_in_measurement_registers_partition_tables_and_retries_do_not_count():
    first = normal(register_log(), "ccel").key("sha384")
    assert normal(register_log(disk=b"\7" * 16, action=3), "ccel").key("sha384") == first
    assert normal(register_log(image=b"evil"), "ccel").key("sha384") != first
    assert normal(register_log(order=b"\2\0"), "ccel").key("sha384") != first  # shares RTMR0 with Secure Boot


def test_a_partition_table_that_was_not_measured_or_is_none_counts():
    banks = ["sha384"]
    table = GRUB[GRUB.find(5, GPT)].data
    kept = entry(3, IPL, b"kernel", banks)
    first = normal(ccel(kept), "ccel").key("sha384")
    assert normal(ccel(entry(2, GPT, table, banks), kept), "ccel").key("sha384") == first
    unproven = entry(2, GPT, table, banks, {"sha384": hash_of("sha384", b"evil")})
    for other in (unproven, entry(2, GPT, table + b"x", banks), entry(2, GPT, b"MZ" + table[2:], banks)):
        assert normal(ccel(other, kept), "ccel").key("sha384") != first


def test_registers_are_never_like_pcrs():
    log = transcode("ccel", ccel(entry(3, IPL, b"kernel", ["sha384"]))).log
    scanned = ScannedLogs.of(Ragged.of([log, log]))
    as_registers, as_pcrs = normalise(scanned, [True, False])
    assert as_registers.key("sha384") != as_pcrs.key("sha384")


def test_a_batch_is_normalised_as_each_log_alone():
    logs = [GRUB, UKI, with_text(GRUB, f"root=UUID={ONE}")]
    scanned = ScannedLogs.of(Ragged.of([log.bytes() for log in logs]))
    batch = normalise(scanned, [False] * len(logs))
    assert [boot.key("sha256") for boot in batch] == [keys(log)["sha256"] for log in logs]


def test_a_long_text_takes_linear_time():
    """An attacker writes the text; each pattern looks at each character a bounded number of times."""
    for piece in ("0", "0-", "a1b2c3d4-", "UUID=", "/" + "a" * 31, "default=", ONE):
        text = piece * (1_000_000 // len(piece))
        assert isinstance(RULES_OF[False][8].named(text), str)
        assert not RULES_OF[False][9].leave_out(text)
