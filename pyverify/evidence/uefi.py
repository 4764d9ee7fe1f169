"""Strict readers of the UEFI structures that event data holds (SPEC sections 3.4, 5.3 and 6).

What does not fit raises :class:`Undecodable` and nothing else; what is tolerated (bytes in excess, a device path that
breaks off) is a field of the result.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pyverify.evidence.decoded import Undecodable
from pyverify.evidence.device_path import DevicePath, device_path
from pyverify.evidence.reading import Reader, guid, utf16

__all__ = [
    "GLOBAL_VARIABLE",
    "GUID_NAMES",
    "HASH_SIZES",
    "IMAGE_SECURITY_DATABASE",
    "SHIM_LOCK",
    "SIGNATURE_TYPE_NAMES",
    "X509",
    "DevicePath",
    "Gpt",
    "ImageLoad",
    "LoadOption",
    "Partition",
    "Reader",
    "SignatureList",
    "Undecodable",
    "Variable",
    "device_path",
    "gpt",
    "guid",
    "image_load",
    "load_option",
    "signature_lists",
    "utf16",
    "variable",
]

GLOBAL_VARIABLE: Final = "8be4df61-93ca-11d2-aa0d-00e098032b8c"
IMAGE_SECURITY_DATABASE: Final = "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
SHIM_LOCK: Final = "605dab50-e046-4300-abb6-3dd810dd8b23"

GUID_NAMES: Final[dict[str, str]] = {
    GLOBAL_VARIABLE: "global variable",
    IMAGE_SECURITY_DATABASE: "image security database",
    SHIM_LOCK: "shim lock",
    "77fa9abd-0359-4d32-bd60-28f4e78f784b": "Microsoft",
    "eb9d2d30-2d88-11d3-9a16-0090273fc14d": "ACPI 1.0",
    "eb9d2d31-2d88-11d3-9a16-0090273fc14d": "SMBIOS",
    "f2fd1544-9794-4a2c-992e-e5bbcf20e394": "SMBIOS 3",
    "8868e871-e4f1-11d3-bc22-0080c73c8881": "ACPI 2.0",
}

X509: Final = "a5c059a1-94e4-4aa7-87b5-ab155c2bf072"
# Signature types that hold the hash of an image or of a certificate, and the size of their data (SPEC section 5.3).
HASH_SIZES: Final[dict[str, int]] = {
    "c1c41626-504c-4092-aca9-41f936934328": 32,
    "826ca512-cf10-4ac9-b187-be01496631bd": 20,
    "0b6e5233-a65c-44c9-9407-d9ab83bfc8bd": 28,
    "ff3e5307-9fd0-48c9-85f1-8ad56c701e01": 48,
    "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a": 64,
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": 48,
    "7076876e-80c2-4ee6-aad2-28b349a6865b": 64,
    "446dbf63-2502-4cda-bcfa-2465d2b0fe9d": 80,
}

SIGNATURE_TYPE_NAMES: Final[dict[str, str]] = {
    X509: "X.509",
    "c1c41626-504c-4092-aca9-41f936934328": "SHA256",
    "826ca512-cf10-4ac9-b187-be01496631bd": "SHA1",
    "0b6e5233-a65c-44c9-9407-d9ab83bfc8bd": "SHA224",
    "ff3e5307-9fd0-48c9-85f1-8ad56c701e01": "SHA384",
    "093e0fae-a6c4-4f50-9f1b-d41e2b89c19a": "SHA512",
    "3c5766e8-269c-4e34-aa14-ed776e85b3b6": "RSA2048",
    "e2b36190-879b-4a3d-ad8d-f2e7bba32784": "RSA2048_SHA256",
    "67f8444f-8743-48f1-a328-1eaab8736080": "RSA2048_SHA1",
    "3bd2a492-96c0-4079-b420-fcf98ef103ed": "X509_SHA256",
    "7076876e-80c2-4ee6-aad2-28b349a6865b": "X509_SHA384",
    "446dbf63-2502-4cda-bcfa-2465d2b0fe9d": "X509_SHA512",
}

_MAX_NAME_UNITS: Final = 2048  # go-attestation's caps on a variable (SPEC section 3.4)
_MAX_VARIABLE_BYTES: Final = 1 << 20
_MAX_SIGNATURE_LISTS: Final = 1024  # a dbx of 32 KB with a list for each hash has some 430 (SPEC section 0.9)


@dataclass(frozen=True, slots=True)
class Variable:
    """UEFI_VARIABLE_DATA."""

    guid: str
    name: str
    data: bytes
    data_at: int
    """Where ``data`` begins within the event's data."""
    excess: int
    """Bytes after the structure: 0, or as many as old shims add."""


def variable(data: bytes) -> Variable:
    """The variable of an event."""
    reader = Reader(data, "EFI variable")
    owner = reader.guid()
    name_units = reader.number(8)
    data_size = reader.number(8)
    if name_units > min(reader.left // 2, _MAX_NAME_UNITS):
        raise reader.fault(16)
    name = utf16(reader.take(2 * name_units), reader.what, 32)
    if data_size > min(reader.left, _MAX_VARIABLE_BYTES):
        raise reader.fault(24)
    data_at = reader.at
    content = reader.take(data_size)
    # Old shims took the size of the C structure, padded (6 bytes more) or packed (1 more: SPEC section 3.6).
    if reader.left not in (0, 1, 6):
        raise reader.fault()
    return Variable(owner, name, content, data_at, reader.left)


@dataclass(frozen=True, slots=True)
class ImageLoad:
    """UEFI_IMAGE_LOAD_EVENT."""

    location: int
    length: int
    link_address: int
    path: DevicePath
    path_size: int
    excess: int
    """Bytes after the structure or its device path."""


def image_load(data: bytes) -> ImageLoad:
    """The image that an event says was loaded."""
    reader = Reader(data, "image load event")
    location, length, link_address, path_size = (reader.number(8) for _ in range(4))
    if path_size > reader.left:
        raise reader.fault(24)
    path = device_path(reader.take(path_size), 32)
    return ImageLoad(location, length, link_address, path, path_size, path.excess + reader.left)


@dataclass(frozen=True, slots=True)
class LoadOption:
    """EFI_LOAD_OPTION: the content of Boot#### and its like."""

    attributes: int
    description: str
    path: DevicePath
    """The first of the option's paths: firmware may keep its own after it."""
    path_at: int
    """Where the paths begin within the event's data; the description ends there with its NUL."""
    optional_at: int
    """Where the optional data begins, which goes on to the end: the paths end there."""


def load_option(data: bytes, base: int = 0) -> LoadOption:
    """The load option that a variable holds."""
    reader = Reader(data, "load option", base)
    attributes = reader.number(4)
    path_size = reader.number(2)
    description = reader.utf16z()
    if path_size > reader.left:
        raise reader.fault(4)
    path_at = base + reader.at
    path = device_path(reader.take(path_size), path_at)
    return LoadOption(attributes, description, path, path_at, base + reader.at)


@dataclass(frozen=True, slots=True)
class Partition:
    """One EFI_PARTITION_ENTRY."""

    type: str
    guid: str
    first_lba: int
    last_lba: int
    attributes: int
    name: str | None
    """None where the name is no UTF-16 text."""


@dataclass(frozen=True, slots=True)
class Gpt:
    """UEFI_GPT_DATA."""

    header: bytes
    """The 92 bytes of the table's header."""
    disk: str
    partitions: int
    """Entries that the event holds: those in use."""
    entry_size: int
    entries: bytes

    def table(self, limit: int) -> Iterator[Partition]:
        """The first entries, as many as the limit allows."""
        for at in range(0, min(self.partitions, limit) * self.entry_size, self.entry_size):
            reader = Reader(self.entries[at : at + 128], "partition entry")
            kind, unique = reader.guid(), reader.guid()
            first, last, attributes = (reader.number(8) for _ in range(3))
            text = reader.take(72)
            end = next((at for at in range(0, 72, 2) if text[at : at + 2] == b"\0\0"), 72)
            try:
                name = utf16(text[:end])  # what follows the NUL may be anything
            except Undecodable:
                name = None
            yield Partition(kind, unique, first, last, attributes, name)


def gpt(data: bytes) -> Gpt:
    """The partition table that an event holds."""
    reader = Reader(data, "GPT")
    header = reader.take(92)
    if not header.startswith(b"EFI PART"):
        raise reader.fault(0)
    entry_size = int.from_bytes(header[84:88], "little")
    if entry_size < 128:
        raise reader.fault(84)
    partitions = reader.number(8)
    if partitions > reader.left // entry_size:
        raise reader.fault(92)
    entries = reader.take(partitions * entry_size)
    reader.end()
    return Gpt(header, guid(header[56:72]), partitions, entry_size, entries)


@dataclass(frozen=True, slots=True)
class SignatureList:
    """One EFI_SIGNATURE_LIST."""

    type: str
    at: int
    """Where it begins within the event's data."""
    header_size: int
    """Zero for every known type: anything else deserves a finding."""
    signature_size: int
    signatures: bytes
    """All EFI_SIGNATURE_DATA, ``signature_size`` bytes each: the owner's GUID and the data."""

    @property
    def count(self) -> int:
        """Signatures in the list."""
        return len(self.signatures) // self.signature_size


def signature_lists(data: bytes, base: int = 0) -> list[SignatureList]:
    """The lists that a signature database (PK, KEK, db, dbx, MokList) holds, none of it left over."""
    reader = Reader(data, "signature list", base)
    lists: list[SignatureList] = []
    while reader.left:
        start = reader.at
        kind = reader.guid()
        list_size, header_size, signature_size = (reader.number(4) for _ in range(3))
        if not 28 <= list_size <= len(data) - start or len(lists) == _MAX_SIGNATURE_LISTS:
            raise reader.fault(start + 16)
        if header_size > list_size - 28:
            raise reader.fault(start + 20)
        size = list_size - 28 - header_size
        data_size = signature_size - 16
        if data_size < 1 or size % signature_size or data_size != HASH_SIZES.get(kind, data_size):
            raise reader.fault(start + 24)
        reader.at += header_size
        lists.append(SignatureList(kind, base + start, header_size, signature_size, reader.take(size)))
    return lists
