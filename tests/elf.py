"""As much of ELF (System V ABI, 64-bit, little-endian) as tells how a library was built."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

X86_64: Final = 62
AARCH64: Final = 183
PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
PT_GNU_STACK: Final = 0x6474E551
PT_GNU_RELRO: Final = 0x6474E552
_DT_STRTAB, _DT_SYMTAB, _DT_TEXTREL, _DT_FLAGS, _DT_FLAGS_1 = 5, 6, 22, 30, 0x6FFFFFFB
_DT_RPATH, _DT_RUNPATH, _DT_NEEDED = 15, 29, 1


@dataclass(frozen=True)
class Segment:
    """A program header."""

    type: int
    flags: int
    offset: int
    address: int
    size: int

    @property
    def executable(self) -> bool:
        return bool(self.flags & 1)

    @property
    def writable(self) -> bool:
        return bool(self.flags & 2)


class Library:
    """A shared library."""

    def __init__(self, data: bytes) -> None:
        assert data[:6] == b"\x7fELF\x02\x01"
        self.data = data
        self.type, self.machine = struct.unpack_from("<HH", data, 16)
        at, size, n = struct.unpack_from("<Q", data, 32)[0], *struct.unpack_from("<HH", data, 54)
        headers = [struct.unpack_from("<IIQQQQ", data, at + i * size) for i in range(n)]
        self.segments = [Segment(kind, flags, offset, address, n) for kind, flags, offset, address, _, n in headers]
        (dynamic,) = self.of_type(PT_DYNAMIC)
        pairs = struct.iter_unpack("<QQ", data[dynamic.offset : dynamic.offset + dynamic.size])
        self.dynamic = [(tag, value) for tag, value in pairs if tag]

    def of_type(self, kind: int) -> list[Segment]:
        return [segment for segment in self.segments if segment.type == kind]

    def values(self, tag: int) -> list[int]:
        return [value for key, value in self.dynamic if key == tag]

    @property
    def binds_now(self) -> bool:
        return any(value & 8 for value in self.values(_DT_FLAGS)) or any(v & 1 for v in self.values(_DT_FLAGS_1))

    @property
    def has_text_relocations(self) -> bool:
        return bool(self.values(_DT_TEXTREL)) or any(value & 4 for value in self.values(_DT_FLAGS))

    @property
    def has_search_path(self) -> bool:
        return bool(self.values(_DT_RPATH) or self.values(_DT_RUNPATH))

    @property
    def needed(self) -> set[str]:
        return {self._text(value) for value in self.values(_DT_NEEDED)}

    def symbols(self) -> dict[str, int]:
        """Dynamic symbols and their addresses: 0 for those that others define. They end where the strings begin."""
        (table,), (strings,) = self.values(_DT_SYMTAB), self.values(_DT_STRTAB)
        first, last = self.offset(table), self.offset(strings)
        rows = struct.iter_unpack("<IBBHQQ", self.data[first : last - (last - first) % 24])
        return {self._text(name): value for name, _, _, _, value, _ in rows}

    def offset(self, address: int) -> int:
        (segment,) = (s for s in self.of_type(PT_LOAD) if s.address <= address < s.address + s.size)
        return address - segment.address + segment.offset

    def _text(self, at: int) -> str:
        start = self.offset(self.values(_DT_STRTAB)[0]) + at
        return self.data[start : self.data.index(b"\0", start)].decode()
