"""What we are compared with: plain Python over hashlib, and Debian's tpm2_eventlog run as a process."""

from __future__ import annotations

import hashlib
import re
import shutil
import struct
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Final

_HEADER: Final = struct.Struct("<III").unpack_from
_U32: Final = struct.Struct("<I").unpack_from
_U16: Final = struct.Struct("<H").unpack_from
_PADDING: Final = 0xFFFFFFFF
_NO_ACTION: Final = 3
_LOCALITY: Final = b"StartupLocality\0"
_ENTRY_1: Final = 32  # bytes of the first entry before its data

# TCG Algorithm Registry; the constructors are looked up once.
_BANKS: Final[dict[int, tuple[str, Callable[..., Any]]]] = {
    0x04: ("sha1", hashlib.sha1),
    0x0B: ("sha256", hashlib.sha256),
    0x0C: ("sha384", hashlib.sha384),
    0x0D: ("sha512", hashlib.sha512),
    0x12: ("sm3_256", partial(hashlib.new, "sm3")),
}

Values = dict[str, list[bytes]]


def python_scan(log: bytes) -> int:
    """Walks a crypto-agile log and counts its events."""
    sizes = _algorithms(log)
    at, end, events = _ENTRY_1 + _U32(log, 28)[0], len(log), 1
    while at < end:
        pcr, kind, count = _HEADER(log, at)
        if pcr == kind == _PADDING:
            break
        at += 12
        for _ in range(count):
            at += 2 + sizes[_U16(log, at)[0]]
        at += 4 + _U32(log, at)[0]
        events += 1
    return events


def python_replay(log: bytes, banks: frozenset[str] | None = None) -> Values:
    """The 24 PCR values of each bank of a crypto-agile log, or of those of its banks that are wanted."""
    sizes = _algorithms(log)
    values: dict[int, list[bytes]] = {}
    constructors = {}
    for number, size in sizes.items():
        if number in _BANKS and (banks is None or _BANKS[number][0] in banks):
            constructors[number] = _BANKS[number][1]
            values[number] = [bytes(size)] * 17 + [b"\xff" * size] * 6 + [bytes(size)]
    at, end = _ENTRY_1 + _U32(log, 28)[0], len(log)
    while at < end:
        pcr, kind, count = _HEADER(log, at)
        if pcr == kind == _PADDING:
            break
        at += 12
        for _ in range(count):
            number = _U16(log, at)[0]
            first = at + 2
            at = first + sizes[number]
            if number in values and kind != _NO_ACTION:
                chain = values[number]
                chain[pcr] = constructors[number](chain[pcr] + log[first:at]).digest()
        size = _U32(log, at)[0]
        at += 4
        if kind == _NO_ACTION and log.startswith(_LOCALITY, at, at + size):
            for chain in values.values():
                chain[0] = chain[0][:-1] + log[at + 16 : at + 17]
        at += size
    return {_BANKS[number][0]: chain for number, chain in values.items()}


def python_appraise(log: bytes, expected: Values, pcrs: Sequence[int]) -> bool:
    """Whether a log leads to the expected values in all banks."""
    values = python_replay(log)
    return all(values[bank][pcr] == chain[pcr] for bank, chain in expected.items() for pcr in pcrs)


def _algorithms(log: bytes) -> dict[int, int]:
    count = _U32(log, _ENTRY_1 + 24)[0]
    return dict(struct.iter_unpack("<HH", log[_ENTRY_1 + 28 : _ENTRY_1 + 28 + 4 * count]))


def python_read(path: Path, kind: str) -> Iterator[tuple[str, bytes]]:
    """Machine and log of each boot of an archive, read by the plainest means."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        for batch in pq.ParquetFile(path).iter_batches(batch_size=512, columns=["machine", "event_log"]):
            yield from zip(batch.column(0).to_pylist(), batch.column(1).to_pylist(), strict=True)
    elif kind == "tar":
        with tarfile.open(path) as tar:
            for member in tar:
                file = tar.extractfile(member) if member.name.endswith("/binary_bios_measurements") else None
                if file is not None:
                    yield member.name.split("/")[0], file.read()
    else:
        for file_path in path.glob("*/*/binary_bios_measurements"):
            yield file_path.parts[-3], file_path.read_bytes()


def python_job(path: Path, kind: str, expected: dict[str, Values], pcrs: Sequence[int]) -> int:
    """Appraises an archive; how many boots are as expected."""
    return sum(python_appraise(log, expected[machine], pcrs) for machine, log in python_read(path, kind))


def tpm2_eventlog_is_here() -> bool:
    """Whether the tool is installed."""
    return shutil.which("tpm2_eventlog") is not None


def tpm2_eventlog(logs: Iterable[bytes]) -> tuple[float, list[dict[int, bytes]]]:
    """The median time of a process a log, and the SHA-256 PCRs it printed for each log."""
    times, values = [], []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "log")
        for log in logs:
            file.write_bytes(log)
            start = time.perf_counter()
            done = subprocess.run(["tpm2_eventlog", file], capture_output=True, text=True, check=False)
            times.append(time.perf_counter() - start)
            values.append(_printed(done.stdout, "sha256"))
    return median(times), values


def _printed(text: str, bank: str) -> dict[int, bytes]:
    block = re.search(rf"^pcrs:\n(?:.*\n)*?  {bank}:\n((?:    .*\n?)+)", text, re.M)
    rows = re.findall(r"^\s+(\d+)\s*:\s*0x([0-9a-fA-F]+)$", block[1], re.M) if block else []
    return {int(pcr): bytes.fromhex(value) for pcr, value in rows}
