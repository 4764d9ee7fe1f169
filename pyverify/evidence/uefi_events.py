"""Events of images that were loaded and of the disk they were loaded from (SPEC sections 3.1 and 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyverify.evidence import uefi
from pyverify.evidence.decoded import Decoded, Field, bytes_field
from pyverify.evidence.words import count, more

_MAX_PARTITIONS: Final = 1024  # of which each is shown; Linux knows 256, a table has room for 128 as a rule


def path_text(path: uefi.DevicePath) -> str:
    """A device path in words, with why it ends where it does."""
    return path.text if path.fault is None else f"{path.text} {path.fault}".lstrip()


def image(_: int, data: bytes) -> Decoded:
    """EV_EFI_BOOT_SERVICES_APPLICATION and the two of drivers. The digest is the image's own: all here is a hint."""
    loaded = uefi.image_load(data)
    path_end = 32 + loaded.path_size
    fields = [
        Field("location", loaded.location, 0, 8),
        Field("length", loaded.length, 8, 16),
        Field("link_address", loaded.link_address, 16, 24),
        Field("path", loaded.path.text, 32, path_end),
    ]
    if path_end < len(data):
        fields.append(bytes_field("excess", data[path_end:], path_end))
    where = path_text(loaded.path) or f"at {loaded.location:#x}, {loaded.length} bytes"
    return Decoded("image", f"image {where}{more(loaded.excess)}", fields, loaded.path.fault)


# Fields of the header that are numbers (UEFI 2.10 section 5.3.2): name, first byte, size.
_GPT_NUMBERS: Final = (
    ("revision", 8, 4),
    ("header_size", 12, 4),
    ("header_crc", 16, 4),
    ("my_lba", 24, 8),
    ("alternate_lba", 32, 8),
    ("first_usable_lba", 40, 8),
    ("last_usable_lba", 48, 8),
    ("entries_lba", 72, 8),
    ("entry_count", 80, 4),
    ("entry_size", 84, 4),
    ("entries_crc", 88, 4),
)


def _gpt_fields(table: uefi.Gpt, size: int, *, guids_are_measured: bool) -> Iterator[Field]:
    for name, at, width in _GPT_NUMBERS:
        yield Field(name, int.from_bytes(table.header[at : at + width], "little"), at, at + width)
    yield Field("disk_guid", table.disk, 56, 72, guids_are_measured)
    yield Field("partition_count", table.partitions, 92, 100)
    partitions: list[Any] = []
    guids: list[Any] = []
    for entry in table.table(_MAX_PARTITIONS):
        guids.append(entry.guid)
        partitions.append(
            {
                "type": entry.type,
                "first_lba": entry.first_lba,
                "last_lba": entry.last_lba,
                "attributes": entry.attributes,
                "name": entry.name,
            }
        )
    yield Field("partitions", partitions, 100, size)
    yield Field("partition_guids", guids, 100, size, guids_are_measured)


def _gpt(data: bytes, *, guids_are_measured: bool) -> Decoded:
    table = uefi.gpt(data)
    text = f"GPT, {count(table.partitions, 'partition', 'partitions')}, disk {table.disk}"
    return Decoded("gpt", text, _gpt_fields(table, len(data), guids_are_measured=guids_are_measured))


def gpt(_: int, data: bytes) -> Decoded:
    """EV_EFI_GPT_EVENT."""
    return _gpt(data, guids_are_measured=True)


def gpt2(_: int, data: bytes) -> Decoded:
    """EV_EFI_GPT_EVENT2, hashed with zeros in place of the GUIDs of the disk and of the partitions."""
    return _gpt(data, guids_are_measured=False)
