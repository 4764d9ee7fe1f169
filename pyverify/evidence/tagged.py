"""Tagged events (EV_EVENT_TAG): an identifier, a size and data, as often as there is room (SPEC section 3.4)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pyverify.evidence import sipa
from pyverify.evidence.decoded import VALUE_BYTES, Decoded, Field, hex_value
from pyverify.evidence.reading import Reader
from pyverify.evidence.words import LISTED, count, listed, text_of

_MAX_TAGS: Final = 1024  # producers write one or two in an event

_TAGS: Final[dict[int, str]] = {  # SPEC section 3.4
    0x8F3B22EC: "Linux initrd",
    0x8F3B22ED: "Linux load options",
    0xF5BC582A: "systemd loader.conf",
    0x6C46F751: "systemd devicetree addon",
    0x49DFFE0F: "systemd initrd addon",
    0xDAC08E1A: "systemd microcode addon",
    0xD5CB7CBC: "systemd SMBIOS type 1",
    0xE0D47BC8: "systemd SMBIOS type 2",
    0xC0B3BD23: "systemd SMBIOS type 11",
}

_WINDOWS_PCRS: Final = range(11, 15)


def tagged(pcr: int, data: bytes) -> Decoded:
    """EV_EVENT_TAG; in PCR 11 to 14 those that are not Linux's or systemd's are Windows'."""
    if pcr in _WINDOWS_PCRS and int.from_bytes(data[:4], "little") not in _TAGS:
        return sipa.windows(data)
    reader = Reader(data, "tagged event")
    tags: list[tuple[int, int, int]] = []
    while reader.left:
        start = reader.at
        tag, size = reader.number(4), reader.number(4)
        if size > reader.left:
            raise reader.fault(reader.at - 4)
        if len(tags) == _MAX_TAGS:
            raise reader.fault(start)
        tags.append((tag, reader.at, size))
        reader.at += size
    names = listed([_TAGS.get(tag, f"0x{tag:08x}") for tag, _, _ in tags[:LISTED]], len(tags))
    text = f"tagged event {names or 'without a tag'}, {count(len(data), 'byte', 'bytes')}"
    return Decoded("tagged", text, _fields(data, tags))


def _fields(data: bytes, tags: list[tuple[int, int, int]]) -> Iterator[Field]:
    found: list[Any] = []
    for tag, at, size in tags:
        content = data[at : at + size]
        item = {"id": f"0x{tag:08x}", "name": _TAGS.get(tag, "unknown"), "data": hex_value(content)}
        if size <= VALUE_BYTES and (text := text_of(content, VALUE_BYTES)) and not text.more:
            item["text"] = text.text
        found.append(item)
    yield Field("tags", found, 0, len(data))
