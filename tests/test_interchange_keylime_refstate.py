"""Keylime's reference states: what a boot leads to, what satisfies one, and each way not to."""

from __future__ import annotations

import copy
import json
import re
import struct
import sys
import uuid

import pytest
from conftest import DATA, hash_of, shared
from hypothesis import given, settings
from hypothesis import strategies as st
from secure_boot_logs import (
    AUTHORITY,
    DRIVER_CONFIG,
    EFI_ACTION,
    EV_ACTION,
    EV_IPL,
    GLOBAL,
    IMAGE_SECURITY,
    SECURE_BOOT_LOG,
    SHIM,
    Editor,
    variable,
)

from pyverify import EventLog, EvidenceError, PyverifyError, UsageError
from pyverify.baseline.interchange import keylime_check, keylime_refstate

PLAIN_LOG = (DATA / "logs" / "01_m1_first_boot.bin").read_bytes()
IMAGE = 0x80000003
SECURE = keylime_check.export(EventLog.parse(SECURE_BOOT_LOG))
PLAIN = keylime_check.export(EventLog.parse(PLAIN_LOG))


def read(refstate):
    data = refstate if isinstance(refstate, bytes) else json.dumps(refstate).encode()
    return keylime_refstate.read(data)


def check(refstate, log):
    return keylime_check.check(read(refstate), EventLog.parse(log))


def changed(refstate, change):
    refstate = copy.deepcopy(refstate)
    change(refstate)
    return refstate


def problems(refstate, log):
    return [problem.hint for problem in check(refstate, log).problems]


def events(log, pcr, kind=None):
    return [e for e in EventLog.parse(log) if e.pcr == pcr and e.extended and kind in (None, e.type_hint)]


def hexes(found):
    return ["0x" + e.digests["sha256"].hex() for e in found]


@pytest.mark.parametrize(("log", "refstate"), [(SECURE_BOOT_LOG, SECURE), (PLAIN_LOG, PLAIN)])
def test_a_boot_satisfies_the_reference_state_that_it_leads_to(log, refstate):
    found = check(keylime_refstate.to_bytes(refstate), log)
    assert found.satisfied
    assert not found.problems
    assert not found.owners_swapped


def test_what_is_exported_is_what_the_log_has():
    (firmware,) = SECURE["scrtm_and_bios"]
    crtm, *blobs = hexes(events(SECURE_BOOT_LOG, 0))[:3]
    assert firmware == {"scrtm": {"sha256": crtm}, "platform_firmware": [{"sha256": blob} for blob in blobs]}
    (kernel,) = SECURE["kernels"]
    shim, grub, linux, _ = hexes(events(SECURE_BOOT_LOG, 4, IMAGE))
    names = ("shim_authcode_sha256", "grub_authcode_sha256", "kernel_authcode_sha256", "initrd_plain_sha256")
    assert [kernel[name] for name in names] == [shim, grub, linux, hexes(events(SECURE_BOOT_LOG, 9))[-1]]
    assert re.sub(r"\\(.)", r"\1", kernel["kernel_cmdline"]).startswith("/vmlinuz-6.1.0-47-amd64 root=/dev/vda2 ro ")
    assert SECURE["mokdig"] == [{"sha256": hexes(events(SECURE_BOOT_LOG, 14))[0]}]
    (plain,) = PLAIN["kernels"]
    assert plain["vmlinuz_plain_sha256"] == hexes(events(PLAIN_LOG, 9))[1]
    assert (SECURE["has_secureboot"], PLAIN["has_secureboot"]) == (True, False)
    assert (PLAIN["pk"], PLAIN["dbx"]) == ([], [])
    # SPEC 5.3: list header of 28 bytes, owner, data; the PK of this machine is one certificate.
    pk = next(e for e in events(SECURE_BOOT_LOG, 7) if "PK".encode("utf-16-le") == e.data[32:36]).data[36:]
    (entry,) = SECURE["pk"]
    assert entry == {"SignatureOwner": str(uuid.UUID(bytes_le=pk[28:44])), "SignatureData": "0x" + pk[44:].hex()}


@pytest.mark.parametrize("name", ["49_bank_sha384_only", "70_uki", "76_direct_kernel", "82_sm3_only"])
def test_boots_that_a_reference_state_cannot_describe_are_not_exported(name):
    log = (shared("recordings", name) / "binary_bios_measurements").read_bytes()
    with pytest.raises(UsageError, match="no boot by shim and GRUB"):
        keylime_check.export(EventLog.parse(log))
    assert not check(PLAIN, log).satisfied


def test_other_firmware_than_a_reference_state_knows_is_not_exported():
    log = Editor(SECURE_BOOT_LOG).insert(3, 1, b"ACPI DATA", pcr=0).build()
    with pytest.raises(UsageError, match="PCR 0 has events that a reference state cannot describe"):
        keylime_check.export(EventLog.parse(log))
    with pytest.raises(UsageError, match=r"can describe this boot: .*AuditMode"):
        log = Editor(SECURE_BOOT_LOG).insert(4, DRIVER_CONFIG, variable(GLOBAL, "AuditMode", b"\0")).build()
        keylime_check.export(EventLog.parse(log))


RECORDED = {  # recordings against the boot before: which PCRs the reference state complains of
    "60_sb_first_boot": {
        "61_sb_reboot": set(),
        "62_sb_grubcfg_tampered": set(),  # Keylime lets grub.cfg pass by its name: it is told as unproven
        "63_sb_dbx_updated": set(),  # more than must be revoked
        "65_sb_mok_added": {7, 14},  # after a key was added to db
        "68_sb_off_same_board": {4, 7, 14},
    },
    "01_m1_first_boot": {
        "02_m1_reboot": set(),
        "10_kernel_upgraded": {8, 9},
        "14_cmdline_changed": {8},
        "16_initrd_tampered": {9},
        "18_grubcfg_tampered": set(),
        "19_shim_modified": {4},
        "20_grub_modified": {4},
        "09_m4_more_memory": {0},
    },
}


@pytest.mark.parametrize(("first", "later", "pcrs"), [(a, b, p) for a, of in RECORDED.items() for b, p in of.items()])
def test_recorded_boots_are_judged_by_what_was_done_to_them(first, later, pcrs):
    logs = [(shared("recordings", name) / "binary_bios_measurements").read_bytes() for name in (first, later)]
    found = check(keylime_check.export(EventLog.parse(logs[0])), logs[1])
    assert {problem.pcr for problem in found.problems} == pcrs


def test_what_passes_by_its_name_is_told():
    log = (shared("recordings", "62_sb_grubcfg_tampered") / "binary_bios_measurements").read_bytes()
    unproven = check(SECURE, log).unproven
    assert any("grub.cfg" in one.hint and one.pcr == 9 for one in unproven)
    assert all(one.event is not None and one.pcr in (8, 9) for one in unproven)


def entry(owner: str, data: str) -> dict[str, str]:
    return {"SignatureOwner": owner, "SignatureData": data}


OTHER = "0x" + "ab" * 32


def without_owner(name):
    def change(refstate):
        refstate[name] = [entry(str(uuid.UUID(int=7)), one["SignatureData"]) for one in refstate[name]]

    return change


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(has_secureboot=False), "unknown key"),
        (lambda r: r["scrtm_and_bios"][0]["scrtm"].update(sha256=OTHER), "PCR 0 .*not those of any firmware"),
        (lambda r: r["scrtm_and_bios"][0]["platform_firmware"].reverse(), "PCR 0"),
        (lambda r: r["scrtm_and_bios"][0]["platform_firmware"].pop(), "PCR 0"),
        (lambda r: r["scrtm_and_bios"][0]["scrtm"].update(sha1="0x" + "00" * 20), "PCR 0"),
        (lambda r: r.update(pk=[]), "PK has 1 entries that are not allowed"),
        (lambda r: r["kek"].pop(), "KEK has 1 entries"),
        (lambda r: r["db"].pop(), "db has 1 entries"),
        (without_owner("db"), "db has 2 entries"),
        (lambda r: r["dbx"].append(entry(str(uuid.UUID(int=7)), OTHER)), "dbx lacks 1 entries"),
        (lambda r: r.update(mokdig=[]), "MokList.*not one of those allowed"),
        (lambda r: r.update(mokxdig=[{"sha256": OTHER}]), "MokListX.*not one of those allowed"),
        (lambda r: r["kernels"][0].update(shim_authcode_sha256=OTHER), "PCR 4 .*images were started"),
        (lambda r: r["kernels"][0].update(kernel_authcode_sha256=OTHER), "PCR 4 .*images were started"),
        (lambda r: r["kernels"][0].update(initrd_plain_sha256=OTHER), "the initrd was not read exactly once"),
        (lambda r: r["kernels"][0].update(kernel_cmdline="/vmlinuz"), "the command line .* is not allowed"),
        (lambda r: r["kernels"][0].update(kernel_cmdline=".*root"), "the command line .* is not allowed"),
    ],
)
def test_a_reference_state_that_wants_something_else_is_not_satisfied(change, words):
    try:
        hints = problems(changed(SECURE, change), SECURE_BOOT_LOG)
    except UsageError as error:
        hints = [str(error)]
    assert any(re.search(words, hint) for hint in hints), hints


def test_any_of_several_kernels_and_firmwares_will_do():
    other = changed(SECURE, lambda r: r["kernels"][0].update(initrd_plain_sha256=OTHER))["kernels"][0]
    firmware = {"scrtm": {"sha256": OTHER}, "platform_firmware": []}
    refstate = changed(SECURE, lambda r: (r["kernels"].insert(0, other), r["scrtm_and_bios"].insert(0, firmware)))
    assert check(refstate, SECURE_BOOT_LOG).satisfied


def test_more_allowed_keys_and_fewer_required_ones_do_no_harm():
    refstate = changed(SECURE, lambda r: (r["db"].append(entry(str(uuid.UUID(int=7)), OTHER)), r.update(dbx=[])))
    assert check(refstate, SECURE_BOOT_LOG).satisfied


def test_a_command_line_may_be_a_pattern_matched_as_a_whole():
    pytest.importorskip("re2")
    expected = {r"/vmlinuz-[0-9.]+-\d+-amd64 root=/dev/vda2 ro .*": True, "root=.*": False, "/vml": False}
    for pattern, fits in expected.items():
        refstate = changed(SECURE, lambda r, pattern=pattern: r["kernels"][0].update(kernel_cmdline=pattern))
        assert check(refstate, SECURE_BOOT_LOG).satisfied == fits
    with pytest.raises(UsageError, match=r"kernels\[0\]\.kernel_cmdline is .*a pattern that RE2 knows"):
        check(changed(SECURE, lambda r: r["kernels"][0].update(kernel_cmdline=r"(a+)+\1")), SECURE_BOOT_LOG)


def test_a_pattern_without_the_package_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "re2", None)
    assert check(SECURE, SECURE_BOOT_LOG).satisfied  # an escaped text needs none
    with pytest.raises(UsageError, match=r"pip install 'pyverify\[excludes\]'"):
        read(changed(SECURE, lambda r: r["kernels"][0].update(kernel_cmdline=".*")))


def test_owners_of_old_files_are_byte_swapped():
    def swap(refstate):
        for name in ("pk", "kek", "db", "dbx", "vendor_db"):
            for one in refstate[name]:
                one["SignatureOwner"] = str(uuid.UUID(bytes=uuid.UUID(one["SignatureOwner"]).bytes_le))

    refstate = changed(SECURE, swap)
    microsoft = {one["SignatureOwner"] for one in refstate["db"]}
    assert "bd9afa77-5903-324d-bd60-28f4e78f784b" in microsoft
    found = check(refstate, SECURE_BOOT_LOG)
    assert found.satisfied
    assert found.owners_swapped


def find(editor, pcr, kind, nth=0, data=b""):
    return [at for at, e in enumerate(editor.entries) if (e.pcr, e.kind) == (pcr, kind) and data in e.data][nth]


def edited(change, log=SECURE_BOOT_LOG):
    editor = Editor(log)
    change(editor)
    return editor.build()


def relabel(pcr, nth, old, new):
    """Another label for a text whose digest stays: the label is not measured (SPEC attack 37)."""

    def change(editor):
        one = editor.entries[find(editor, pcr, EV_IPL, nth, old)]
        one.data = one.data.replace(old, new, 1)

    return change


def grub(text: bytes, at: int = -2, label: bytes = b"grub_cmd: "):
    def change(editor):
        place = find(editor, 8, EV_IPL, at)
        editor.insert(place, EV_IPL, label + text + b"\0", pcr=8)
        editor.entries[place].rehash(editor.banks, text)

    return change


def insert(pcr, kind, data, hashed=None, before=(0, 4)):
    def change(editor):
        at = find(editor, *before) if before else len(editor.entries)
        editor.insert(at, kind, data, pcr=pcr)
        if hashed is not None:
            editor.entries[at].rehash(editor.banks, hashed)

    return change


def set_digest(pcr, kind, nth=0, data=b""):
    def change(editor):
        editor.entries[find(editor, pcr, kind, nth, data)].rehash(editor.banks, b"evil")

    return change


def drop(pcr, kind, nth=0, data=b""):
    def change(editor):
        del editor.entries[find(editor, pcr, kind, nth, data)]

    return change


def unprovable(name):
    def change(editor):
        editor.entries[editor.find(name)].rehash(editor.banks, b"something else")

    return change


def image_load() -> bytes:
    return struct.pack("<QQQQ", 0, 0, 0, 4) + b"\x7f\xff\4\0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        # PCR 0 and 4: by digest, whatever the type.
        (insert(0, 1, b"ACPI DATA"), "PCR 0"),
        (insert(0, EV_ACTION, b"harmless"), "PCR 0"),
        (set_digest(0, 0x80000008), "PCR 0"),
        (drop(0, 8), "PCR 0"),
        (insert(4, IMAGE, image_load(), b"evil"), "PCR 4 .*5 images"),
        (insert(4, EV_ACTION, b"harmless", b"evil"), "PCR 4 .*5 images"),
        (insert(4, EFI_ACTION, b"Calling EFI Application from Boot Option", b"evil"), "PCR 4 .*5 images"),
        (insert(4, 4, bytes(4), b"evil"), "PCR 4 .*5 images"),
        (set_digest(4, IMAGE, 2), "PCR 4"),
        (drop(4, IMAGE, 0), "PCR 4"),
        # PCR 7: by proven data, each variable once.
        (lambda e: e.content("SecureBoot", b"\0"), "SecureBoot is off"),
        (lambda e: e.content("SecureBoot", b"\2"), "SecureBoot is not measured exactly once"),
        (
            lambda e: e.insert(5, DRIVER_CONFIG, variable(GLOBAL, "SecureBoot", b"\1")),
            "SecureBoot is not measured exactly",
        ),
        (unprovable("SecureBoot"), "SecureBoot.*: nothing proves what this is"),
        (unprovable("dbx"), "dbx is not measured exactly once"),
        (lambda e: e.content("dbx", b""), "dbx lacks 1 entries"),
        (lambda e: e.content("db", b"\0" * 30), "db is not measured exactly once, or does not decode"),
        (lambda e: e.insert(5, DRIVER_CONFIG, variable(GLOBAL, "db", b"")), "says nothing of the variable “db”"),
        (
            lambda e: e.insert(5, DRIVER_CONFIG, variable(IMAGE_SECURITY, "dbt", b"")),
            "says nothing of the variable “dbt”",
        ),
        (lambda e: e.insert(5, AUTHORITY, variable(SHIM, "MokSBState", b"\1")), "verified by “MokSBState”"),
        (
            lambda e: e.insert(5, AUTHORITY, variable(SHIM, "vendor_db", bytes(40))),
            "entry of vendor_db that is not allowed",
        ),
        (lambda e: e.insert(5, AUTHORITY, variable(SHIM, "vendor_db", b"")), "entry of vendor_db that is not allowed"),
        (lambda e: e.insert(5, AUTHORITY, variable(IMAGE_SECURITY, "dbx", bytes(40))), "verified by “dbx”"),
        (lambda e: e.insert(5, EFI_ACTION, b"UEFI Debug Mode"), "UEFI Debug Mode.*nothing proves"),
        (drop(7, DRIVER_CONFIG, 1), "PK is not measured exactly once"),
        # PCR 8: commands under any label.
        (grub(b"linux /evil init=/bin/sh"), "another command line than the one that was measured"),
        (grub(b"/vmlinuz x", label=b"kernel_cmdline: "), "2 kernel command lines were measured"),
        (relabel(8, 0, b"kernel_cmdline: ", b"grub_cmd: "), "0 kernel command lines were measured"),
        (grub(b"initrd /evil"), "2 initrds were loaded"),
        (drop(8, EV_IPL, 0, b"grub_cmd: linuxefi"), "no command loaded the kernel"),
        (drop(8, EV_IPL, 0, b"grub_cmd: initrdefi"), "0 initrds were loaded"),
        (grub(b"chainloader /evil"), "“chainloader” loads"),
        (set_digest(8, EV_IPL, 1), "PCR 8 .*nothing proves what this is"),
        (grub(b"odd", label=b"other: "), "nothing proves what this is"),
        (grub(b"\xff"), "nothing proves what this is"),
        # PCR 9 and 14.
        (set_digest(9, EV_IPL, -1), "the initrd was not read exactly once"),
        (insert(9, EV_IPL, b"/initrd.evil\0", b"evil"), "/initrd.evil.*not one of the files"),
        (insert(9, 6, b"harmless", b"evil"), "not one of the files"),
        (set_digest(14, EV_IPL, 0), "MokList.*not one of those allowed"),
        (relabel(14, 0, b"MokList", b"MokXyzt"), "MokList is not measured exactly once"),
        (relabel(14, 0, b"MokList", b"MokListTrusted"), "MokList is not measured exactly once"),
        (insert(14, EV_IPL, b"MokSBState\0", b"\1"), "MokSBState.*not one of those allowed"),
        (drop(14, EV_IPL, 1), "MokListX is not measured exactly once"),
    ],
)
def test_a_boot_that_is_not_so_does_not_satisfy(change, words):
    hints = problems(SECURE, edited(change))
    assert any(re.search(words, hint) for hint in hints), hints


def test_hiding_the_real_command_line_behind_another_label_does_not_help():
    """The command line that was judged is typed as a command, the real one is called a command (SPEC attack 37)."""

    def change(editor):
        at = find(editor, 8, EV_IPL, 0, b"kernel_cmdline: ")
        good = editor.entries[at].data.removeprefix(b"kernel_cmdline: ").rstrip(b"\0")
        evil = good + b" init=/bin/sh"
        editor.entries[at].data = b"grub_cmd: " + evil + b"\0"
        editor.entries[at].rehash(editor.banks, evil)
        linux = find(editor, 8, EV_IPL, 0, b"grub_cmd: linuxefi ")
        editor.entries[linux].data = b"grub_cmd: linuxefi " + evil + b"\0"
        editor.entries[linux].rehash(editor.banks, b"linuxefi " + evil)
        editor.insert(linux, EV_IPL, b"kernel_cmdline: " + good + b"\0", pcr=8)
        editor.entries[linux].rehash(editor.banks, good)

    assert any("another command line" in hint for hint in problems(SECURE, edited(change)))


def test_more_events_than_any_boot_has_are_not_looked_at():
    log = edited(lambda e: [grub(b"set x=%d" % n)(e) for n in range(20)])
    assert check(SECURE, log).satisfied
    editor = Editor(SECURE_BOOT_LOG)
    at = find(editor, 8, EV_IPL)
    editor.entries[at:at] = [editor.entries[at]] * keylime_check.MAX_EVENTS
    (problem,) = check(SECURE, editor.build()).problems
    assert "no boot has more than 10000" in problem.hint


def test_without_secure_boot_the_kernels_file_counts():
    assert any("vmlinuz" in hint for hint in problems(PLAIN, edited(set_digest(9, EV_IPL, 1), PLAIN_LOG)))
    more = insert(4, IMAGE, image_load(), b"kernel")
    assert any("3 images" in hint for hint in problems(PLAIN, edited(more, PLAIN_LOG)))
    assert any("SecureBoot is on" in hint for hint in problems(PLAIN, SECURE_BOOT_LOG))


def test_a_log_without_sha256_satisfies_nothing():
    log = (shared("recordings", "82_sm3_only") / "binary_bios_measurements").read_bytes()
    (problem,) = check(PLAIN, log).problems
    assert problem.hint.startswith("the log has no SHA-256 bank")


def test_sha1_alone_proves_nothing():
    def change(refstate):
        for digest in (refstate["scrtm_and_bios"][0]["scrtm"],):
            digest.clear()
            digest["sha1"] = "0x" + events(SECURE_BOOT_LOG, 0)[0].digests["sha1"].hex()

    with pytest.raises(UsageError, match=r"\$\.scrtm_and_bios\[0\]\.scrtm has no digest but SHA-1"):
        read(changed(SECURE, change))
    (event, *_) = events(SECURE_BOOT_LOG, 0)
    weak = {"sha1": event.digests["sha1"]}
    assert not keylime_refstate.Digests({**weak, "sm3_256": bytes(32)}).match(event)  # which the log does not have
    assert keylime_refstate.Digests({**weak, "sha384": event.digests["sha384"]}).match(event)
    assert not keylime_refstate.Digests({"sha1": bytes(20), "sha384": event.digests["sha384"]}).match(event)


def test_a_log_with_a_fault_is_not_judged():
    with pytest.raises(EvidenceError):
        keylime_check.check(read(SECURE), EventLog.read(SECURE_BOOT_LOG[:-3]))
    with pytest.raises(EvidenceError):
        keylime_check.export(EventLog.read(b""))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: r.update(extra=1), "unknown key “extra”"),
        (lambda r: r.pop("dbx"), r"\$ lacks dbx"),
        (lambda r: r.update(has_secureboot=1), r"\$\.has_secureboot is 1; allowed is true or false"),
        (lambda r: r.update(kernels=[]), r"\$\.kernels is empty"),
        (lambda r: r.update(scrtm_and_bios=[]), r"\$\.scrtm_and_bios is empty"),
        (lambda r: r["scrtm_and_bios"][0].update(scrtm={}), "has no digest but SHA-1"),
        (lambda r: r["scrtm_and_bios"][0]["platform_firmware"].append({}), r"platform_firmware\[2\] has no digest"),
        (lambda r: r["scrtm_and_bios"][0].pop("platform_firmware"), "lacks platform_firmware"),
        (lambda r: r["scrtm_and_bios"][0]["scrtm"].update(md5="0x00"), "md5.*one of sha1"),
        (lambda r: r["kernels"][0].pop("initrd_plain_sha256"), "lacks initrd_plain_sha256"),
        (lambda r: r["kernels"][0].update(vmlinuz_plain_sha256=OTHER), "unknown key “vmlinuz_plain_sha256”"),
        (lambda r: r["kernels"][0].update(kernel_cmdline=["a"]), r"kernel_cmdline is a list"),
        (lambda r: r["kernels"][0].update(kernel_cmdline="a" * 9000), "has 9000 characters"),
        (lambda r: r["pk"].append({"SignatureOwner": "x", "SignatureData": "0x00"}), "SignatureOwner is"),
        (lambda r: r["pk"].append(entry(str(uuid.UUID(int=1)), "00")), "SignatureData is .*0x and an even number"),
        (lambda r: r["pk"].append(entry(str(uuid.UUID(int=1)), "0x0")), "SignatureData is"),
        (lambda r: r["pk"].append(entry(str(uuid.UUID(int=1)), "0x")), "SignatureData is empty"),
        (lambda r: r.update(db={}), r"\$\.db is an object"),
    ],
)
def test_a_reference_state_that_is_not_exactly_so_is_refused(change, words):
    with pytest.raises(UsageError, match=words):
        read(changed(SECURE, change))


@pytest.mark.parametrize(
    "value", ["ab" * 32, "0x" + "AB" * 32, "0X" + "ab" * 32, "0x" + "ab" * 31, "0x0" + "ab" * 31, "0x", 5]
)
def test_a_digest_has_one_form(value):
    """SPEC attacks 103 and 104: Keylime's own form is 0x and all digits, in lower case."""
    with pytest.raises(UsageError, match=r"0x and 64 lower-case|allowed is a string"):
        read(changed(SECURE, lambda r: r["kernels"][0].update(initrd_plain_sha256=value)))
    with pytest.raises(UsageError, match="0x and 64 lower-case"):
        read(changed(SECURE, lambda r: r["mokdig"].append({"sha256": value})))


FILE = keylime_refstate.to_bytes(SECURE)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_damaged_reference_state_is_refused_or_read_as_it_says(data):
    at = data.draw(st.integers(0, len(FILE) - 1))
    end = data.draw(st.integers(at, min(at + 90, len(FILE))))
    pieces = st.one_of(st.binary(max_size=3), st.sampled_from([b"[]", b"{}", b"null", FILE[at:end] * 2]))
    damaged = FILE[:at] + data.draw(pieces) + FILE[end:]
    try:
        found = keylime_refstate.read(damaged)
    except PyverifyError:
        return
    said = json.loads(damaged)
    for name in ("pk", "kek", "db", "dbx"):
        assert len(found.keys[name]) == len({(one["SignatureOwner"], one["SignatureData"]) for one in said[name]})
    assert (len(found.kernels), len(found.firmware)) == (len(said["kernels"]), len(said["scrtm_and_bios"]))


def test_hash_of_is_the_oracle_of_the_switches():
    assert (hash_of("sha256", b"\0"), hash_of("sha256", b"\1")) == keylime_check._SWITCHES
