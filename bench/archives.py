"""A fleet written as an archive: a folder tree, a tar of it, or Parquet; a boot at a time."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from bench.fleet import Boot
from pyverify.evidence.columns import SCHEMA_VERSION, evidence_schema

_LOG: Final = "binary_bios_measurements"
_FACTS: Final = "evidence.json"
ROW_GROUP: Final = 1_000


def record_batches(boots: Iterable[Boot], rows: int) -> Iterator[pa.RecordBatch]:
    """The boots as evidence, so many rows a batch."""
    schema = evidence_schema()
    waiting = iter(boots)
    while some := list(islice(waiting, rows)):
        columns: dict[str, Any] = {
            "schema_version": [SCHEMA_VERSION] * len(some),
            "machine": [boot.machine for boot in some],
            "boot": [boot.name for boot in some],
            "boot_seq": [boot.seq for boot in some],
            "collected_at": [boot.collected_at for boot in some],
            "event_log": [boot.log for boot in some],
            "ima": [None if boot.ima is None else [{"format": "binary", "data": boot.ima}] for boot in some],
        }
        arrays = [
            pa.array(columns[field.name], field.type) if field.name in columns else pa.nulls(len(some), field.type)
            for field in schema
        ]
        yield pa.record_batch(arrays, schema=schema)


def write_parquet(boots: Iterable[Boot], path: Path) -> None:
    """One Parquet file, zstd, a thousand rows a row group."""
    # A dictionary of logs would hold each machine's log once a row group and spare the reader work.
    plain = [field.name for field in evidence_schema() if field.name != "event_log"]
    with pq.ParquetWriter(path, evidence_schema(), compression="zstd", use_dictionary=plain) as writer:
        for batch in record_batches(boots, ROW_GROUP):
            writer.write_batch(batch, row_group_size=ROW_GROUP)


def write_tar(boots: Iterable[Boot], path: Path) -> None:
    """One tar, not compressed."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for boot in boots:
            for name, data in _files(boot):
                member = tarfile.TarInfo(f"{boot.machine}/{boot.name}/{name}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def write_folder(boots: Iterable[Boot], path: Path) -> None:
    """A folder of ``<machine>/<boot>/``."""
    for boot in boots:
        folder = path / boot.machine / boot.name
        folder.mkdir(parents=True)
        for name, data in _files(boot):
            (folder / name).write_bytes(data)


def _files(boot: Boot) -> tuple[tuple[str, bytes], ...]:
    facts = {"boot_seq": boot.seq, "collected_at": boot.collected_at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return (_LOG, boot.log), (_FACTS, json.dumps(facts).encode())


WRITERS: Final = {"folder": write_folder, "tar": write_tar, "parquet": write_parquet}
