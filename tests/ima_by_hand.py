"""IMA lists made, walked and replayed by hand over hashlib: a second opinion on the package."""

from __future__ import annotations

import struct

import numpy as np
from conftest import ALGORITHMS, hash_of

from pyverify import _native
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan

ZERO = bytes(20)
FIELDS = {"ima-ng": 2, "ima-sig": 3, "ima-buf": 3, "ima-ngv2": 2, "d-ng|n-ng|iuid|igid|imode": 5}


def field(data: bytes) -> bytes:
    return struct.pack("<I", len(data)) + data


def digest_field(algorithm: str, digest: bytes) -> bytes:
    return field(algorithm.encode() + b":\0" + digest)


def data_of(path: str | bytes, digest: bytes, *more: bytes, algorithm: str = "sha256") -> bytes:
    """Template data: digest, name, further fields."""
    name = path.encode() if isinstance(path, str) else path
    return digest_field(algorithm, digest) + field(name + b"\0") + b"".join(map(field, more))


def entry(
    data: bytes, template: str = "ima-ng", *, pcr: int = 10, shown: bytes | None = None, bank: str = "sha1"
) -> bytes:
    """A binary entry; the digest it shows is that of its data, or the given one."""
    digest = hash_of(bank, data) if shown is None else shown
    return struct.pack("<I", pcr) + digest + field(template.encode()) + field(data)


def legacy(path: bytes, digest: bytes, *, pcr: int = 10) -> bytes:
    """An entry of template ``ima``."""
    shown = hash_of("sha1", digest + path.ljust(256, b"\0"))
    return struct.pack("<I", pcr) + shown + field(b"ima") + digest + field(path)


def a_digest(number: int, algorithm: str = "sha256") -> bytes:
    return hash_of(algorithm, b"content %d" % number)


def aggregate(digest: bytes = bytes(32), algorithm: str = "sha256") -> bytes:
    return entry(data_of("boot_aggregate", digest, algorithm=algorithm))


def a_list(names: list[str]) -> bytes:
    """boot_aggregate, and a file an entry."""
    return aggregate() + b"".join(entry(data_of(name, a_digest(i))) for i, name in enumerate(names))


def walk(data: bytes, size: int = 20):
    """PCR, digest shown, template and what is hashed, of each entry of a good list."""
    at = 0
    while at < len(data):
        pcr = struct.unpack_from("<I", data, at)[0]
        shown = data[at + 4 : at + 4 + size]
        at += 4 + size
        length = struct.unpack_from("<I", data, at)[0]
        template = data[at + 4 : at + 4 + length].decode()
        at += 4 + length
        if template == "ima":
            length = struct.unpack_from("<I", data, at + 20)[0]
            yield pcr, shown, template, data[at : at + 20] + data[at + 24 : at + 24 + length].ljust(256, b"\0")
            at += 24 + length
        else:
            length = struct.unpack_from("<I", data, at)[0]
            yield pcr, shown, template, data[at + 4 : at + 4 + length]
            at += 4 + length


def replay(data: bytes, bank: str, *, pcr: int = 10, padded: bool = False, entries: int | None = None) -> bytes:
    """The value that (the first ``entries`` of) a list of SHA-1 digests leads to."""
    size = ALGORITHMS[bank][1]
    value = bytes(size)
    for number, (own, shown, _, message) in enumerate(walk(data)):
        if own != pcr or (entries is not None and number >= entries):
            continue
        if shown == ZERO:
            digest = (b"\xff" * 20).ljust(size, b"\0") if padded else b"\xff" * size
        else:
            digest = hash_of("sha1", message).ljust(size, b"\0") if padded else hash_of(bank, message)
        value = hash_of(bank, value + digest)
    return value


def columns_of(*lists: bytes, format: str = "binary"):
    return scan(Ragged.of(list(lists)), [format] * len(lists))


def row(value: bytes) -> np.ndarray:
    return np.frombuffer(value, np.uint8)[None]


def fault_of(columns, index: int = 0):
    code = _native.ima_fault_code(int(columns.rows["fault"][index]))
    return (code, int(columns.rows["fault_at"][index])) if code else None
