"""Small archives for the tests of sources, made from one description in every form."""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pyverify.fleet.sources import open_source

Tree = dict[str, dict[str, bytes]]

FLEET: Tree = {
    "m1/b1": {
        "binary_bios_measurements": b"log one" * 100,
        "binary_runtime_measurements": b"ima",
        "binary_runtime_measurements_sm3-256": b"ima sm3",
        "ascii_runtime_measurements_sha256": b"ima text",
        "quote.msg": b"msg",
        "quote.sig": b"sig",
        "quote.pcrs": b"pcrs",
        "ak.pub": b"ak",
        "quote.2.msg": b"msg 2",
        "ak.2.pub": b"ak 2",
        "ak.crt": b"certificate",
        "ek.crt": b"ek certificate",
        "tpm2-measure.log": b"userspace",
        "evidence.json": b'{"boot_seq": 7, "collected_at": "2026-11-01T10:00:00+02:00", "other": [1.5]}',
        "notes.txt": b"not evidence",
    },
    "m1/b2": {"binary_bios_measurements": b"", "evidence.json": b'{"boot_seq": 8}'},
    "m2/b1": {"ak.pub": b"a key and no quote", "evidence.json": b"{}"},
}


def make_folder(root: Path, tree: Tree = FLEET) -> Path:
    for folder, members in tree.items():
        (root / folder).mkdir(parents=True)
        for name, data in members.items():
            (root / folder / name).write_bytes(data)
    return root


def tar_bytes(tree: Tree = FLEET, prefix: str = "", **options: Any) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", **options) as tar:
        for folder, members in tree.items():
            for name, data in members.items():
                info = tarfile.TarInfo(f"{prefix}{folder}/{name}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def make_tar(path: Path, items: list[tuple[tarfile.TarInfo | str, bytes]]) -> Path:
    """A tar of just these members."""
    with tarfile.open(path, "w") as tar:
        for item, data in items:
            info = tarfile.TarInfo(item) if isinstance(item, str) else item
            info.size = len(data) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(data))
    return path


def make_zip(path: Path, items: list[tuple[zipfile.ZipInfo | str, bytes]]) -> Path:
    """A zip of just these members."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for item, data in items:
            archive.writestr(item, data)
    return path


def zstd(data: bytes) -> bytes:
    out = pa.BufferOutputStream()
    with pa.CompressedOutputStream(out, "zstd") as stream:
        stream.write(data)
    return bytes(out.getvalue())


def make(kind: str, folder: Path, tree: Tree = FLEET) -> Path:
    """The tree as an archive of this kind."""
    if kind == "folder":
        return make_folder(folder / "archive", tree)
    path = folder / "archive"
    if kind == "zip":
        items: list[tuple[zipfile.ZipInfo | str, bytes]] = [
            (f"fleet/{boot}/{name}", data) for boot, members in tree.items() for name, data in members.items()
        ]
        return make_zip(path, items)
    if kind == "parquet":
        pq.write_table(
            pa.Table.from_batches(open_source(make_folder(folder / "tree", tree)).batches()), path, use_dictionary=False
        )
        return path
    tar = tar_bytes(tree, "fleet/")
    packers = {"tar": bytes, "gz": gzip.compress, "xz": lzma.compress, "zst": zstd}
    path.write_bytes(packers[kind](tar))
    return path


def read(path: Path, **options: Any) -> list[dict[str, Any]]:
    """All rows as dictionaries."""
    found: list[dict[str, Any]] = []
    for batch in open_source(path).batches(**options):
        batch.validate(full=True)
        found += batch.to_pylist()
    return found


def faults(path: Path, **options: Any) -> list[tuple[str, str, str | None]]:
    """Machine, boot and fault code of each row."""
    return [(row["machine"], row["boot"], row["fault"] and row["fault"]["code"]) for row in read(path, **options)]
