"""One boot in a dozen lines: firmware, loaders, kernel, command line, Secure Boot; and what of it its digests prove.

``proven`` means that the data was checked against the digest *and* that the digest covers the very text. The digest
itself is proven by a replay that matches a quoted PCR, which is not looked at here. A name beside the hash of a file
is a hint that whoever wrote the log chose; so is every label: GRUB does not hash the ``kernel_cmdline:`` before a
command line, so a command may be shown as one (SPEC section 10.2, attack 37).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from pyverify.appraise.secure_boot import secure_boot
from pyverify.appraise.secure_boot_rules import STRICT, Allowances
from pyverify.appraise.secure_boot_state import SecureBoot
from pyverify.evidence import event_types as types
from pyverify.evidence import uefi
from pyverify.evidence.event_data import describe
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.text import escape

_MAX_ITEMS: Final = 32  # of one kind: a log may hold 200,000 strings of GRUB's

# GRUB's prefixes: with a colon, and as Fedora and RHEL once had them (SPEC section 3.5).
_GRUB: Final = re.compile(rb"(grub_cmd|kernel_cmdline|module_cmdline): |(grub_cmd|grub_kernel_cmdline) ")
_INITRD_COMMANDS: Final = {"initrd", "initrdefi", "initrd16"}
# Texts of systemd-stub in PCR 12 that name an archive instead of being measured themselves (SPEC section 3.5).
_STUB_ARCHIVES: Final = {"Credentials initrd", "Global credentials initrd", "System extension initrd"}
_LINUX_TAGS: Final = {0x8F3B22EC: "initrd", 0x8F3B22ED: "load options"}  # SPEC section 3.4

_LABEL_UNPROVEN: Final = "the text is proven, what it was for is not"
_TEXT_UNPROVEN: Final = "a text that its digest does not prove"
_PATH_UNPROVEN: Final = "a path beside the hash of the image"
_NAME_UNPROVEN: Final = "a name beside the hash of the file"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a boot's log tells."""

    value: str
    """As the log has it, not escaped; where that is no text, what it is in words."""
    proven: bool
    """Whether the digest of the event covers this text, and was checked to."""
    event: int | None
    """Number of the event that tells it."""
    note: str = ""
    """What is to be known about the value: why it is not proven, or what of it is not."""


@dataclass(frozen=True, slots=True)
class BootSummary:
    """What one log tells of a boot, in the words of :class:`Item`; at most 32 of a kind."""

    events: int
    """Entries of the log."""
    banks: tuple[str, ...]
    firmware: tuple[Item, ...]
    """Versions: EV_S_CRTM_VERSION."""
    firmware_blobs: tuple[Item, ...]
    """Firmware volumes and what else of the vendor PCR 0 names."""
    loaders: tuple[Item, ...]
    """Device paths of the images in PCR 4, in order: boot manager, shim, GRUB, kernel."""
    kernels: tuple[Item, ...]
    command_lines: tuple[Item, ...]
    initrds: tuple[Item, ...]
    left_out: int
    """Items past the 32 of a kind, not listed. No boot has so many: whoever wrote the log may hide one among them."""
    secure_boot: SecureBoot

    def as_json(self) -> dict[str, Any]:
        """The summary as what ``json.dump`` takes. Texts are as the log has them: whoever prints them escapes them."""
        boot = self.secure_boot
        lists = {name: [asdict(item) for item in getattr(self, name)] for name, _ in _LISTS}
        return {
            "events": self.events,
            "banks": list(self.banks),
            **lists,
            "left_out": self.left_out,
            "secure_boot": {
                "enabled": boot.enabled,
                "state": boot.state,
                "event": boot.event,
                "shim_validates": boot.shim_validates,
                "sbat_level": boot.sbat_level,
                "debug": boot.debug,
                "dma_protection_off": boot.dma_protection_off,
                **{name: _database(getattr(boot, name)) for name in ("pk", "kek", "db", "dbx", "dbt", "dbr")},
                "authorities": [
                    {"source": item.source, "owner": item.owner, "found": item.found, "event": item.event}
                    for item in boot.authorities
                ],
                "mok_list": {bank: digest.hex() for bank, digest in boot.mok_list.items()},
                "mok_list_x": {bank: digest.hex() for bank, digest in boot.mok_list_x.items()},
                "findings": [
                    {"code": item.code, "severity": str(item.severity), "event": item.event, "hint": item.hint}
                    for item in boot.findings
                ],
            },
        }

    def lines(self) -> list[str]:
        """The summary for a person: printable lines, hints marked with ``?``."""
        rows = [("log", f"{self.events} events, banks {', '.join(self.banks) or 'none'}")]
        for name, title in _LISTS:
            items: tuple[Item, ...] = getattr(self, name)
            rows += [(title, _line(item)) for item in items] or [(title, "not in the log")]
        if self.left_out:
            rows.append(("left out", f"{self.left_out} more, which may matter: see the events themselves"))
        rows += _secure_boot_rows(self.secure_boot)
        width = max(len(title) for title, _ in rows)
        return [f"{title:<{width}}  {text}" for title, text in rows] + ["(?) a hint: nothing in the log proves it"]


_LISTS: Final = (
    ("firmware", "firmware"),
    ("firmware_blobs", "firmware blob"),
    ("loaders", "image"),
    ("kernels", "kernel"),
    ("command_lines", "command line"),
    ("initrds", "initrd"),
)


def _line(item: Item) -> str:
    mark = "" if item.proven else "? "
    where = "" if item.event is None else f" [event {item.event}]"
    return f"{mark}{escape(item.value) or '(empty)'}{where}{f' ({item.note})' if item.note else ''}"


def _secure_boot_rows(boot: SecureBoot) -> list[tuple[str, str]]:
    where = "" if boot.event is None else f" [event {boot.event}]"
    doubt = "" if boot.enabled or boot.state != "enabled" else ", but not every rule holds"
    rows = [("secure boot", f"{boot.state}{doubt}{where}")]
    counts = [(key.upper() if key in ("pk", "kek") else key, getattr(boot, key)) for key in ("pk", "kek", "db", "dbx")]
    rows.append(("keys", ", ".join(f"{key} {'none' if item is None else len(item)}" for key, item in counts)))
    shim = {None: "not seen", True: "validates what it starts", False: "does NOT validate what it starts"}
    idle = " (not with Secure Boot as it is)" if boot.shim_validates and boot.state != "enabled" else ""
    rows.append(("shim", shim[boot.shim_validates] + idle))
    if boot.sbat_level is not None:
        rows.append(("SBAT level", f"{', '.join(f'{c} {g}' for c, g in boot.sbat_rows)} [event {boot.sbat_event}]"))
    return rows + [(f"{item.severity}", f"{item.code}: {item.hint}") for item in boot.findings]


def _database(entries: Any) -> list[dict[str, Any]] | None:
    if entries is None:
        return None
    return [
        {"type": item.type, "owner": item.owner, "size": len(item.data), "sha256": item.sha256.hex()}
        for item in entries
    ]


def summarise(log: EventLog, verified: Sequence[int], allow: Allowances = STRICT) -> BootSummary:
    """Summarises one log.

    Args:
        log: a whole log.
        verified: for each event 1 where its data hashes to its digest in every bank (as its type has it hashed: of
            GRUB's strings the text after the prefix), 0 where it does not, -1 where that was not checked or cannot be.
        allow: what the policy allows of Secure Boot.

    Raises:
        EvidenceError: the log is empty or has a fault.
        UsageError: ``verified`` has not one value an event.
    """
    boot = secure_boot(log, verified, allow)
    told = _Telling()
    for event in log:
        if event.extended:
            told.read(event, bool(verified[event.number] == 1))
    told.finish()
    kinds = {name: _unlike(getattr(told, name)) for name, _ in _LISTS}
    left_out = sum(max(len(items) - _MAX_ITEMS, 0) for items in kinds.values())
    listed = {name: items[:_MAX_ITEMS] for name, items in kinds.items()}
    return BootSummary(events=len(log), banks=log.banks, left_out=left_out, secure_boot=boot, **listed)


def _unlike(items: Iterable[Item]) -> tuple[Item, ...]:
    """The items without repetitions: of equal values the first that is proven, else the first."""
    unlike: dict[str, Item] = {}
    for item in items:
        if item.value not in unlike or (item.proven and not unlike[item.value].proven):
            unlike[item.value] = item
    return tuple(unlike.values())


def _version(event: Event) -> str:
    """A firmware's version: UTF-16 with its NUL, or a GUID (SPEC section 3.1)."""
    data = event.data
    try:
        text = uefi.utf16(data).removesuffix("\0")
    except uefi.Undecodable:
        text = "\0"
    if text.isprintable() and (text.isascii() or len(data) != 16):
        return text
    return uefi.guid(data) if len(data) == 16 else describe(event.pcr, event.type_hint, data)


class _Telling:
    """What was told so far, by kind."""

    def __init__(self) -> None:
        self.firmware: list[Item] = []
        self.firmware_blobs: list[Item] = []
        self.loaders: list[Item] = []
        self.kernels: list[Item] = []
        self.command_lines: list[Item] = []
        self.initrds: list[Item] = []
        self._started: Item | None = None

    def read(self, event: Event, proven: bool) -> None:
        """Reads one extended event."""
        kind, pcr = event.type_hint, event.pcr
        if pcr == 0:
            self._firmware(event, proven)
        elif pcr == 4 and kind == types.EV_EFI_BOOT_SERVICES_APPLICATION:
            self._image(event)
        elif kind == types.EV_IPL and pcr == 8 and (prefix := _GRUB.match(event.data)):
            self._grub((prefix[1] or prefix[2]).decode(), event.data[prefix.end() :], proven, event.number)
        elif kind == types.EV_IPL and pcr in (8, 12):
            self._stub_text(event, proven)
        elif kind == types.EV_IPL and pcr == 9:
            self._grub_file(event)
        elif kind == types.EV_IPL and pcr == 11:
            self._section(event)
        elif kind == types.EV_EVENT_TAG and pcr == 9:
            self._linux_stub(event)

    def _firmware(self, event: Event, proven: bool) -> None:
        if event.type_hint == types.EV_S_CRTM_VERSION:
            self.firmware.append(Item(_version(event), proven, event.number, "" if proven else _TEXT_UNPROVEN))
        elif event.type_hint not in (types.EV_SEPARATOR, types.EV_NO_ACTION):
            value = describe(event.pcr, event.type_hint, event.data)
            self.firmware_blobs.append(Item(value, False, event.number, "a description beside the hash of the blob"))

    def _image(self, event: Event) -> None:
        try:
            image = uefi.image_load(event.data)
            value = image.path.text or f"image of {image.length} bytes from memory"
        except uefi.Undecodable as fault:
            value = str(fault)
        self.loaders.append(Item(value, False, event.number, _PATH_UNPROVEN))

    def _grub(self, label: str, data: bytes, proven: bool, number: int) -> None:
        text = data.removesuffix(b"\0").decode("utf-8", "backslashreplace")
        note = _LABEL_UNPROVEN if proven else _TEXT_UNPROVEN
        if label != "grub_cmd":
            image, _, arguments = text.partition(" ")
            if label != "module_cmdline":
                self.kernels.append(Item(image, proven, number, note))
            self.command_lines.append(Item(arguments if label != "module_cmdline" else text, proven, number, note))
            return
        command, _, arguments = text.partition(" ")
        if command in _INITRD_COMMANDS:
            self.initrds += [Item(name, proven, number, note) for name in arguments.split()]

    def _grub_file(self, event: Event) -> None:
        name = event.data.removesuffix(b"\0").decode("utf-8", "backslashreplace")
        base = name.rpartition("/")[2]
        for kind, beginnings in ((self.kernels, ("vmlinuz", "kernel")), (self.initrds, ("initrd", "initramfs"))):
            if base.startswith(beginnings):
                kind.append(Item(name, False, event.number, _NAME_UNPROVEN))

    def _stub_text(self, event: Event, proven: bool) -> None:
        """systemd's boot loader and stub measure the command line itself, in UTF-16 (old stubs end in an odd byte)."""
        data = event.data[: len(event.data) // 2 * 2]
        try:
            text = uefi.utf16(data).removesuffix("\0")
        except uefi.Undecodable:
            return
        if text not in _STUB_ARCHIVES and "\0" not in text:
            self.command_lines.append(Item(text, proven, event.number, "" if proven else _TEXT_UNPROVEN))
            self._starts(_PATH_UNPROVEN)

    def _section(self, event: Event) -> None:
        name = event.data.decode("utf-16-le", "replace").rstrip("\0")
        if name == ".linux":
            self._started = None
            self._starts("unified kernel image; a path beside its hash")
        elif name == ".initrd":
            self.initrds.append(Item(".initrd of the unified kernel image", False, event.number, _NAME_UNPROVEN))

    def _linux_stub(self, event: Event) -> None:
        tag = _LINUX_TAGS.get(int.from_bytes(event.data[:4], "little"))
        if tag == "initrd":
            self.initrds.append(Item("initrd that the kernel's EFI stub loaded", False, event.number, _NAME_UNPROVEN))
        if tag is not None:
            self._starts(_PATH_UNPROVEN)

    def _starts(self, note: str) -> None:
        """A kernel's own stub or systemd's measures: it is the image that was loaded last, if the log is honest."""
        if self._started is None and self.loaders:
            self._started = replace(self.loaders[-1], note=note)

    def finish(self) -> None:
        """Where no GRUB named a kernel, it is the image that measured something of its own first."""
        if not self.kernels and self._started is not None:
            self.kernels.append(self._started)
