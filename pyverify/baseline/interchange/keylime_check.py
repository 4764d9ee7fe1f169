"""Whether a boot satisfies Keylime's reference state, and the reference state that a boot leads to.

Stricter than Keylime where names or types alone decide there, as whoever writes the log may change those: images and
firmware are compared by all digests of PCR 4 and 0; a command that loads a kernel under any label must have the command
line that was judged, and one initrd. What Keylime lets pass by its name, and nothing proves, is told as ``unproven``.
PCRs 1, 2, 3, 5, 6 and 11-13 a reference state says nothing of.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pyverify.baseline.interchange import keylime_boot, keylime_refstate
from pyverify.baseline.interchange.keylime_boot import Boot
from pyverify.baseline.interchange.keylime_refstate import Digests, Kernel, Keys, Refstate
from pyverify.errors import UsageError
from pyverify.evidence import event_types as types
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape
from pyverify.evidence.words import words

MAX_EVENTS: Final = 10_000
"""Events of the PCRs that are judged; GRUB measures some hundred."""

_OF_GRUB: Final = ("/grub", "/loader/entries", "/vmlinuz")  # files that Keylime's policy lets pass by name
_KERNEL_COMMANDS: Final = frozenset(["linux", "linux16", "linuxefi"])
_INITRD_COMMANDS: Final = frozenset(["initrd", "initrd16", "initrdefi"])
_OTHER_LOADERS: Final = frozenset(
    ["chainloader", "multiboot", "multiboot2", "module", "module2", "xen_hypervisor", "xen_module"]
)
_QUOTES: Final = re.compile(r"[\"'\\]")  # what GRUB puts around words with blanks in the one text, not in the other
_BLOBS: Final = frozenset([types.EV_EFI_PLATFORM_FIRMWARE_BLOB, types.EV_EFI_PLATFORM_FIRMWARE_BLOB2])
_SWITCHES: Final = tuple(hashlib.sha256(value).digest() for value in (b"\0", b"\1"))


@dataclass(frozen=True, slots=True)
class Problem:
    """One reason why a boot does not satisfy a reference state, or what of it nothing vouches for."""

    hint: str
    pcr: int
    event: int | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What came of holding a boot against a reference state; it is satisfied where there is no problem.

    ``unproven`` are events that Keylime's own check lets pass by name, whatever was measured: files that GRUB read (one
    may be another initrd) and its commands. ``owners_swapped``: the file's owner GUIDs are byte-swapped, an old one.
    """

    problems: tuple[Problem, ...]
    unproven: tuple[Problem, ...]
    owners_swapped: bool

    @property
    def satisfied(self) -> bool:
        """Whether the boot is one that the reference state allows."""
        return not self.problems


def check(refstate: Refstate, log: EventLog) -> Check:
    """Holds a boot against a reference state.

    That the log is what the machine measured is for a quote to prove; here it is only held against the reference state.

    Raises:
        EvidenceError: the log is empty or has a fault.
    """
    boot = Boot.of(log)
    if "sha256" not in log.banks:
        missing = Problem("the log has no SHA-256 bank, and a reference state is of SHA-256", keylime_boot.BOOT_LOADER)
        return Check((missing,), (), owners_swapped=False)
    if boot.n_events > MAX_EVENTS:
        hint = (
            f"{boot.n_events} events in the PCRs that a reference state speaks of; no boot has more than {MAX_EVENTS}"
        )
        return Check((Problem(hint, keylime_boot.GRUB),), (), owners_swapped=False)
    keys = _Keys(refstate, boot)
    problems = [
        *_firmware(refstate, boot),
        *keys.problems(),
        *_shim(refstate, boot),
        *(_of(event, "nothing proves what this is") for event in boot.unexplained),
        *_loaded(boot),
        *min((list(_kernel(kernel, boot)) for kernel in refstate.kernels), key=len),
    ]
    return Check(tuple(problems), tuple(_unproven(refstate, boot)), owners_swapped=keys.swapped)


def export(log: EventLog) -> dict[str, Any]:
    """The reference state of a boot by shim and GRUB, as JSON: what it measured is what may be.

    Raises:
        EvidenceError: the log is empty or has a fault.
        UsageError: the boot is none that a reference state can describe.
    """
    boot = Boot.of(log)
    secure_boot = boot.variable(keylime_boot.SECURE_BOOT)
    secure = secure_boot is not None and secure_boot.data == b"\1"
    images = [event.digests.get("sha256", b"") for event in boot.images]
    lines = [command.text for command in boot.commands if command.is_command_line]
    initrd, vmlinuz = (_named(boot, *names) for names in (("initrd", "initramfs"), ("vmlinuz",)))
    if len(images) < 2 + secure or len(lines) != 1 or initrd is None or not (secure or vmlinuz):
        raise UsageError("this is no boot by shim and GRUB, which is all that a reference state can describe")
    if [event.type_hint for event in boot.firmware[:1]] != [types.EV_S_CRTM_VERSION] or any(
        event.type_hint not in _BLOBS for event in boot.firmware[1:]
    ):
        raise UsageError("PCR 0 has events that a reference state cannot describe: allowed are the S-CRTM's and blobs")
    kernel = {"shim_authcode_sha256": images[0], "grub_authcode_sha256": images[1], "initrd_plain_sha256": initrd}
    kernel["kernel_authcode_sha256" if secure else "vmlinuz_plain_sha256"] = images[2] if secure else vmlinuz or b""
    databases = {key: _measured(boot, name) for name, key in keylime_boot.DATABASES.items()}
    vendor = Keys(entry for one in boot.authorities if one.name in keylime_boot.VENDOR_DB for entry in one.authority())
    refstate = {
        "has_secureboot": secure,
        "scrtm_and_bios": [
            {"scrtm": _hex(boot.firmware[0]), "platform_firmware": [_hex(event) for event in boot.firmware[1:]]}
        ],
        **{key: _signatures(keys) for key, keys in databases.items()},
        "vendor_db": _signatures(vendor),
        "mokdig": [_hex(event) for event in boot.shim if _name(event) == "MokList"],
        "mokxdig": [_hex(event) for event in boot.shim if _name(event) == "MokListX"],
        "kernels": [
            {name: "0x" + digest.hex() for name, digest in kernel.items()} | {"kernel_cmdline": re.escape(lines[0])}
        ],
    }
    # Whatever was misread above would show here.
    if problems := check(keylime_refstate.parse(refstate), log).problems:
        raise UsageError(f"no reference state can describe this boot: {problems[0].hint}")
    return refstate


def _measured(boot: Boot, name: tuple[str, str]) -> Keys:
    variable = boot.variable(name)
    return (variable and variable.entries()) or Keys()


def _signatures(keys: Keys) -> list[dict[str, str]]:
    return [{"SignatureOwner": owner, "SignatureData": "0x" + data.hex()} for owner, data in sorted(keys)]


def _hex(event: Event) -> dict[str, str]:
    return {"sha256": "0x" + event.digests.get("sha256", b"").hex()}


def _named(boot: Boot, *names: str) -> bytes | None:
    return next((e.digests.get("sha256") for e in boot.files if any(f"/{name}" in _name(e) for name in names)), None)


def _name(event: Event) -> str:
    """What the log calls an event of EV_IPL: a hint."""
    return words(event.data) or ""


def _of(event: Event, why: str) -> Problem:
    what = describe(event.pcr, event.type_hint, event.data)
    return Problem(f"{pcr_name(event.pcr)}: {event.type_name} “{what}”: {why}", event.pcr, event.number)


def _firmware(refstate: Refstate, boot: Boot) -> Iterator[Problem]:
    for allowed in refstate.firmware:
        digests = (allowed.scrtm, *allowed.platform_firmware)
        if len(digests) == len(boot.firmware) and all(
            digest.match(event) for digest, event in zip(digests, boot.firmware, strict=True)
        ):
            return
    hint = "its events are not those of any firmware in scrtm_and_bios, in their order"
    yield Problem(f"{pcr_name(0)}: {hint}", 0, boot.firmware[0].number if boot.firmware else None)


class _Keys:
    """Secure Boot's variables against the databases of a reference state, in either form of its owners."""

    def __init__(self, refstate: Refstate, boot: Boot) -> None:
        self._refstate = refstate
        self._boot = boot
        self.swapped = False
        """Whether an owner was only found byte-swapped."""

    def problems(self) -> list[Problem]:
        """What does not hold."""
        return [*self._secure_boot(), *self._databases(), *self._others(), *self._authorities()]

    def _secure_boot(self) -> Iterator[Problem]:
        measured = self._boot.variable(keylime_boot.SECURE_BOOT)
        if measured is None or measured.data not in (b"", b"\0", b"\1"):
            yield _policy("SecureBoot is not measured exactly once, as on or off")
        elif (measured.data == b"\1") != self._refstate.has_secureboot:
            state = "off" if self._refstate.has_secureboot else "on"
            yield _policy(f"SecureBoot is {state}", measured.event)

    def _databases(self) -> Iterator[Problem]:
        for name, key in keylime_boot.DATABASES.items():
            measured = self._boot.variable(name)
            entries = None if measured is None else measured.entries()
            if measured is None or entries is None:
                yield _policy(f"{name[1]} is not measured exactly once, or does not decode")
            elif key == "dbx":
                revoked = {data for _, data in entries}
                if missing := sum(data not in revoked for _, data in self._refstate.keys[key]):
                    yield _policy(f"dbx lacks {missing} entries that it must have", measured.event)
            elif unknown := self._unknown(entries, key):
                yield _policy(f"{name[1]} has {len(unknown)} entries that are not allowed", measured.event)

    def _unknown(self, entries: Keys, key: str) -> set[tuple[str, bytes]]:
        """Entries that are not in a database of the reference state, with their owner in one form or the other."""
        unknown = entries - self._refstate.keys[key]
        found = unknown & self._refstate.keys[key].swapped
        self.swapped |= bool(found)
        return set(unknown - found)

    def _others(self) -> Iterator[Problem]:
        known = {keylime_boot.SECURE_BOOT, *keylime_boot.DATABASES}
        for variable in self._boot.variables:
            if variable.name not in known:
                hint = f"the reference state says nothing of the variable “{escape(variable.name[1], 64)}”"
                yield _policy(hint, variable.event)

    def _authorities(self) -> Iterator[Problem]:
        for one in self._boot.authorities:
            name = escape(one.name[1], 64)
            if one.name in keylime_boot.VENDOR_DB:
                if not one.authority() or self._unknown(one.authority(), "vendor_db"):
                    yield _policy(f"an image was verified by an entry of {name} that is not allowed", one.event)
            elif one.name not in keylime_boot.ACCEPTED_AUTHORITIES:
                yield _policy(f"an image was verified by “{name}”, which the reference state does not allow", one.event)


def _policy(hint: str, event: int | None = None) -> Problem:
    return Problem(f"{pcr_name(keylime_boot.POLICY)}: {hint}", keylime_boot.POLICY, event)


def _shim(refstate: Refstate, boot: Boot) -> Iterator[Problem]:
    """PCR 14: each list once where the reference state has one, with an allowed digest; else only the switch."""
    lists: dict[str, tuple[Digests, ...]] = {"MokList": refstate.mok, "MokListX": refstate.mok_x}
    seen: list[str] = []
    for event in boot.shim:
        name = _name(event)
        if name == "MokListTrusted" and event.digests.get("sha256") in _SWITCHES:
            continue
        seen.append(name)
        if not any(digests.match(event) for digests in lists.get(name, ())):
            yield _of(event, "not one of those allowed")
    for name, allowed in lists.items():
        if seen.count(name) != 1 and (allowed or name in seen):
            hint = f"{name} is not measured exactly once"
            yield Problem(f"{pcr_name(keylime_boot.SHIM)}: {hint}", keylime_boot.SHIM)


def _loaded(boot: Boot) -> Iterator[Problem]:
    """GRUB's commands, whatever they are called: the label of a text is not measured (SPEC attack 37)."""
    lines = [command for command in boot.commands if command.is_command_line]
    if len(lines) != 1:
        yield _grub(f"{len(lines)} kernel command lines were measured; allowed is one")
        return
    line = _QUOTES.sub("", lines[0].text)
    kernels = initrds = 0
    for command in boot.commands:
        word, _, rest = command.text.strip().partition(" ")
        kernels += word in _KERNEL_COMMANDS
        if word in _KERNEL_COMMANDS and _QUOTES.sub("", rest.strip()) != line:
            yield _grub("a kernel was loaded with another command line than the one that was measured", command.event)
        elif word in _OTHER_LOADERS:
            yield _grub(f"“{word}” loads what the reference state says nothing of", command.event)
        initrds += len(rest.split()) if word in _INITRD_COMMANDS else 0
    if not kernels:
        yield _grub("no command loaded the kernel")
    if initrds != 1:
        yield _grub(f"{initrds} initrds were loaded; allowed is one")


def _grub(hint: str, event: int | None = None) -> Problem:
    return Problem(f"{pcr_name(keylime_boot.GRUB)}: {hint}", keylime_boot.GRUB, event)


def _kernel(kernel: Kernel, boot: Boot) -> Iterator[Problem]:
    """What of one of the allowed kernels does not hold."""
    images = tuple(event.digests.get("sha256") for event in boot.images)
    # Some GRUBs have the firmware measure the kernel twice.
    if images != kernel.images and not (kernel.vmlinuz is None and images == (*kernel.images, kernel.images[-1])):
        pcr = keylime_boot.BOOT_LOADER
        hint = f"{len(images)} images were started; allowed are {len(kernel.images)}, each with its digest"
        yield Problem(f"{pcr_name(pcr)}: {hint}", pcr, boot.images[0].number if boot.images else None)
    for command in boot.commands:
        if command.is_command_line and not kernel.command_line.match(command.text):
            yield _grub(f"the command line “{escape(command.text)}” is not allowed", command.event)
    files = [event.digests.get("sha256") for event in boot.files]
    pcr = keylime_boot.FILES
    for what, digest in (("initrd", kernel.initrd), ("vmlinuz", kernel.vmlinuz)):
        if digest is not None and files.count(digest) != 1:
            yield Problem(f"{pcr_name(pcr)}: the {what} was not read exactly once", pcr)
    for event in boot.files:
        digest = event.digests.get("sha256")
        is_kernel = kernel.vmlinuz is not None and "/vmlinuz" in _name(event)
        by_name = any(part in _name(event) for part in _OF_GRUB) and not is_kernel
        if digest not in (kernel.initrd, kernel.vmlinuz) and not by_name:
            yield _of(event, "not one of the files that may be read")


def _unproven(refstate: Refstate, boot: Boot) -> Iterator[Problem]:
    known = {digest for kernel in refstate.kernels for digest in (kernel.initrd, kernel.vmlinuz)}
    for event in boot.files:
        if event.digests.get("sha256") not in known:
            yield _of(event, "passes by its name, which is not measured")
    for command in boot.commands:
        if not command.is_command_line:
            hint = f"the command “{escape(command.text)}” may be any"
            yield _grub(hint, command.event)
