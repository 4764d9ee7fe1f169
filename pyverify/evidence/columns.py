"""The columnar form of evidence: one row a boot, ragged byte columns without copies."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, Self, TypeAlias

import numpy as np
import numpy.typing as npt

SCHEMA_VERSION: Final = 1

NAME_PATTERN: Final = r"(?:[A-Za-z0-9._-]{3,128}|[A-Za-z0-9_-][A-Za-z0-9._-]?|\.[A-Za-z0-9_-])"
"""What machines and boots may be called (DESIGN section 5.8): 1 to 128 of these, but neither ``.`` nor ``..``."""


@dataclass(frozen=True, slots=True)
class Ragged:
    """A ragged batch of byte strings: item ``i`` is ``blob[offsets[i]:offsets[i + 1]]``.

    ``blob`` is uint8 of shape [bytes], ``offsets`` int64 of shape [n + 1]; ``present`` is bool of shape [n], False
    where the item was not sent at all (an absent item has no bytes).
    """

    blob: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> bytes:
        return self.blob[self.offsets[index] : self.offsets[index + 1]].tobytes()

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each item: int64 of shape [n]."""
        return np.diff(self.offsets)

    def to_list(self) -> list[bytes]:
        """All items; those that were not sent are empty."""
        data, bounds = self.blob.tobytes(), self.offsets.tolist()
        return [data[first:last] for first, last in pairwise(bounds)]

    @classmethod
    def of(cls, items: list[bytes | None]) -> Self:
        """The items of a list, None for one that was not sent."""
        sizes = np.fromiter((len(item) if item else 0 for item in items), np.int64, len(items))
        offsets = np.zeros(len(items) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        blob = np.frombuffer(b"".join(item for item in items if item), np.uint8)
        present = np.fromiter((item is not None for item in items), np.bool_, len(items))
        return cls(blob, offsets, present)

    @classmethod
    def from_arrow(cls, array: Any) -> Self:
        """The items of a pyarrow array of any binary layout.

        ``binary`` and ``large_binary`` are taken as they lie; views and dictionaries are laid out first.
        """
        import pyarrow as pa

        if isinstance(array, pa.ChunkedArray):
            array = array.combine_chunks()
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        if not (pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type)):
            array = array.cast(pa.large_binary())
        width = np.int64 if pa.types.is_large_binary(array.type) else np.int32
        _, offsets_buffer, data = array.buffers()
        n = len(array)
        if offsets_buffer is None:
            offsets = np.zeros(n + 1, np.int64)
        else:
            first = array.offset * np.dtype(width).itemsize
            offsets = np.frombuffer(offsets_buffer, width, n + 1, first).astype(np.int64, copy=False)
        blob = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
        present = np.ones(n, np.bool_)
        if array.null_count:
            present = np.asarray(array.is_valid().to_numpy(zero_copy_only=False), np.bool_)
            # A null may still own bytes: give it none, so that no reader takes them for evidence.
            if np.any(np.diff(offsets)[~present]):
                return cls.of([item if item is None else bytes(item) for item in array.to_pylist()])
        return cls(blob, offsets, present)


@dataclass(frozen=True, slots=True)
class Repeated:
    """A ragged batch of which items are known to be equal: item ``i`` is ``distinct[item_of[i]]``.

    ``item_of`` is int64 of shape [n]. What is distinct may hold equal items too; nothing rests on that it does not.
    """

    distinct: Ragged
    item_of: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.item_of)

    def __getitem__(self, index: int) -> bytes:
        return self.distinct[int(self.item_of[index])]

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """As of a :class:`Ragged`."""
        return self.distinct.present[self.item_of]

    @property
    def sizes(self) -> npt.NDArray[np.int64]:
        """Bytes of each item: int64 of shape [n]."""
        return self.distinct.sizes[self.item_of]

    @classmethod
    def from_dictionary(cls, array: Any) -> Self:
        """The items of a pyarrow dictionary array, of whose values those that are there are laid out, once each."""
        import pyarrow as pa

        numbers = array.indices.cast(pa.int64()).fill_null(-1).to_numpy()
        used, item_of = np.unique(numbers, return_inverse=True)
        return cls(Ragged.from_arrow(array.dictionary.take(pa.array(used, mask=used < 0))), item_of)


Items: TypeAlias = Ragged | Repeated


def items_of(array: Any) -> Items:
    """The items of a pyarrow array of any binary layout, those of a dictionary once each."""
    import pyarrow as pa

    if isinstance(array, pa.Array) and pa.types.is_dictionary(array.type):
        return Repeated.from_dictionary(array)
    return Ragged.from_arrow(array)


def evidence_schema() -> Any:
    """The Arrow schema of evidence: one row a boot; null means not sent, empty means sent empty (DESIGN section 10)."""
    import pyarrow as pa

    ima = pa.struct([("format", pa.string()), ("data", pa.large_binary())])
    quote = pa.struct([("msg", pa.binary()), ("sig", pa.binary()), ("ak_pub", pa.binary()), ("pcrs", pa.binary())])
    return pa.schema(
        [
            ("schema_version", pa.int32()),
            ("machine", pa.string()),
            ("boot", pa.string()),
            ("boot_seq", pa.int64()),
            ("collected_at", pa.timestamp("us", tz="UTC")),
            ("event_log", pa.large_binary()),
            ("event_log_kind", pa.string()),
            ("userspace_log", pa.large_binary()),
            ("ima", pa.list_(ima)),
            ("quotes", pa.list_(quote)),
            ("ak_cert", pa.binary()),
            ("ek_cert", pa.binary()),
        ]
    )
