"""Keylime's measured-boot reference state: firmware, keys and kernels that a boot may have (SPEC section 9.4).

Read as its policy ``example`` reads it. ``pk``, ``kek``, ``db`` and ``vendor_db`` are what may be there, ``dbx`` is
what must.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from pyverify.algorithms import BY_NAME
from pyverify.baseline.interchange import strict
from pyverify.errors import UsageError
from pyverify.evidence.eventlog import Event
from pyverify.evidence.signature_databases import Signature

MAX_SIZE: Final = 16 << 20
"""Bytes of a reference state; a dbx of 32 KB is 100 KB in it."""
_MAX_ITEMS: Final = 10_000
_MAX_PATTERN: Final = 8_192
_PATTERN_MEMORY: Final = 8 << 20  # of a command line's automaton

_OWNER: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_IMAGES: Final = ("shim_authcode_sha256", "grub_authcode_sha256")
_FILE: Final[dict[str, type]] = {
    "scrtm_and_bios": list,
    "pk": list,
    "kek": list,
    "db": list,
    "dbx": list,
    "mokdig": list,
    "mokxdig": list,
    "kernels": list,
}


class Digests(dict[str, bytes]):
    """What one thing hashes to, by bank; at least one of them is stronger than SHA-1."""

    def match(self, event: Event) -> bool:
        """Whether an event measured it: all banks that both have agree, SHA-1 alone being none."""
        common = [bank for bank in self if bank in event.digests]
        return any(bank != "sha1" for bank in common) and all(self[bank] == event.digests[bank] for bank in common)


@dataclass(frozen=True, slots=True)
class Firmware:
    """One firmware: what PCR 0 may be extended with, in this order."""

    scrtm: Digests
    platform_firmware: tuple[Digests, ...]


class CommandLine:
    """A kernel's command line as a pattern, matched as a whole in linear time (SPEC attack 109)."""

    def __init__(self, pattern: str, place: str) -> None:
        self.pattern = pattern
        literal = re.sub(r"\\(.)", r"\1", pattern, flags=re.DOTALL)
        self._literal = literal if re.escape(literal) == pattern else None
        self._compiled = None if self._literal is not None else _compile(pattern, place)

    def match(self, text: str) -> bool:
        """Whether this is such a command line."""
        if self._compiled is None:
            return text == self._literal
        return self._compiled.fullmatch(text) is not None


def _compile(pattern: str, place: str) -> Any:
    try:
        import re2
    except ImportError as error:
        words = "a command line that is a pattern needs the package google-re2: pip install 'pyverify[excludes]'"
        raise UsageError(f"{place}: {words}") from error
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeEncodeError) as error:
        raise strict.wrong(place, pattern, "a pattern that RE2 knows") from error


@dataclass(frozen=True, slots=True)
class Kernel:
    """One way to boot: images of PCR 4 in this order, the files that GRUB must have read, the command line."""

    images: tuple[bytes, ...]
    vmlinuz: bytes | None
    """SHA-256 of the kernel's file, where Secure Boot is off; None where it is on, and its image is in ``images``."""
    initrd: bytes
    command_line: CommandLine


class Keys(frozenset[tuple[str, bytes]]):
    """Entries of a signature database: owner and data."""

    @classmethod
    def of(cls, entries: tuple[Signature, ...]) -> Self:
        """Those of a measured database."""
        return cls((entry.owner, entry.data) for entry in entries)

    @property
    def swapped(self) -> Keys:
        """The same with the owners' GUIDs byte by byte, as tpm2-tools before 5.2 printed them."""
        return Keys((str(uuid.UUID(bytes=uuid.UUID(owner).bytes_le)), data) for owner, data in self)


@dataclass(frozen=True, slots=True)
class Refstate:
    """A reference state. ``keys`` are the databases ``pk``, ``kek``, ``db``, ``dbx`` and ``vendor_db``."""

    has_secureboot: bool
    firmware: tuple[Firmware, ...]
    keys: Mapping[str, Keys]
    mok: tuple[Digests, ...]
    mok_x: tuple[Digests, ...]
    kernels: tuple[Kernel, ...]


def read(data: bytes) -> Refstate:
    """The reference state that a file is.

    Raises:
        UsageError: it is none, strictly read: the message has the place in it.
    """
    return parse(strict.load(data, "a reference state", MAX_SIZE))


def parse(value: Any) -> Refstate:
    """The same of decoded JSON."""
    file = strict.members(value, "$", _FILE, {"has_secureboot": bool, "vendor_db": list})
    secure = file.get("has_secureboot", True)
    for key in ("scrtm_and_bios", "kernels"):
        if not file[key]:
            raise UsageError(f"$.{key} is empty; allowed is at least one")
    return Refstate(
        secure,
        tuple(_firmware(one, place) for one, place in _each(file, "scrtm_and_bios", "$")),
        {name: _keys(file, name) for name in ("pk", "kek", "db", "dbx", "vendor_db")},
        tuple(_digests(one, place) for one, place in _each(file, "mokdig", "$")),
        tuple(_digests(one, place) for one, place in _each(file, "mokxdig", "$")),
        tuple(_kernel(one, place, secure=secure) for one, place in _each(file, "kernels", "$")),
    )


def _each(value: Mapping[str, Any], key: str, place: str) -> list[tuple[Any, str]]:
    where = f"{place}.{key}"
    return [(one, f"{where}[{n}]") for n, one in enumerate(strict.items(value.get(key, []), where, _MAX_ITEMS))]


def _firmware(value: Any, place: str) -> Firmware:
    strict.members(value, place, {"scrtm": dict, "platform_firmware": list})
    blobs = tuple(_digests(one, where) for one, where in _each(value, "platform_firmware", place))
    return Firmware(_digests(value["scrtm"], f"{place}.scrtm"), blobs)


def _digests(value: Any, place: str) -> Digests:
    digests = Digests(
        (strict.bank_name(bank, f"{place}, as a key,"), strict.digest(one, strict.at(place, bank), bank, "0x"))
        for bank, one in strict.mapping(value, place).items()
    )
    if not set(digests) - {"sha1"}:
        raise UsageError(f"{place} has no digest but SHA-1; allowed is one of {', '.join(set(BY_NAME) - {'sha1'})} too")
    return digests


def _keys(file: Mapping[str, Any], name: str) -> Keys:
    found = []
    for value, place in _each(file, name, "$"):
        strict.members(value, place, {"SignatureOwner": str, "SignatureData": str})
        if not _OWNER.fullmatch(value["SignatureOwner"]):
            raise strict.wrong(f"{place}.SignatureOwner", value["SignatureOwner"], "a GUID in lower-case digits")
        data = strict.hexadecimal(value["SignatureData"], f"{place}.SignatureData", None, "a signature's data", "0x")
        if not data:
            raise UsageError(f"{place}.SignatureData is empty")
        found.append((value["SignatureOwner"], data))
    return Keys(found)


def _kernel(value: Any, place: str, *, secure: bool) -> Kernel:
    last = "kernel_authcode_sha256" if secure else "vmlinuz_plain_sha256"
    names = (*_IMAGES, last, "initrd_plain_sha256")
    strict.members(value, place, dict.fromkeys((*names, "kernel_cmdline"), str))
    shim, grub, kernel, initrd = (strict.digest(value[name], f"{place}.{name}", "sha256", "0x") for name in names)
    pattern = value["kernel_cmdline"]
    if len(pattern) > _MAX_PATTERN:
        raise UsageError(f"{place}.kernel_cmdline has {len(pattern)} characters; allowed are {_MAX_PATTERN}")
    images = (shim, grub, kernel) if secure else (shim, grub)
    return Kernel(images, None if secure else kernel, initrd, CommandLine(pattern, f"{place}.kernel_cmdline"))


def to_bytes(refstate: Mapping[str, Any]) -> bytes:
    """A reference state in JSON, as a file."""
    return json.dumps(refstate, indent=2).encode() + b"\n"
