"""What arrives as a file: archives, verdict files, snapshots of references."""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from baselines_by_hand import everything, of_log
from conftest import small_log
from source_archives import make, tar_bytes

from fuzz import json_trees
from fuzz.target import Target
from pyverify import ArchiveError, Evidence, Policy, PyverifyError, References, ReferencesError
from pyverify.appraise.appraisal import Appraisal
from pyverify.appraise.booted import reached_in
from pyverify.appraise.verdict import Verdict
from pyverify.evidence.bundle import evidence_batch
from pyverify.evidence.columns import evidence_schema
from pyverify.fleet.sources import open_source
from pyverify.output.verdict_files import read_verdicts

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
BLOCK = 512


def _on_disk(data: bytes) -> Path:
    """One file for all inputs, as nothing is read twice; in memory where the system has a place for it."""
    global _file  # noqa: PLW0603
    if _file is None:
        shm = Path("/dev/shm")
        _file = Path(tempfile.mkdtemp(dir=shm if shm.is_dir() else None)) / "input"
    _file.write_bytes(data)
    return _file


_file: Path | None = None


def check_archive(data: bytes) -> None:
    """Every row is whole, or has a fault; what cannot be read is an archive's error. Keys alone are the same rows."""
    path = _on_disk(data)
    wanted = {field.name for field in evidence_schema()}
    rows, keys = [], []
    try:
        for batch in open_source(path).batches(max_rows=8):
            batch.validate(full=True)
            assert wanted <= set(batch.schema.names)
            rows += batch.select(["machine", "boot"]).to_pylist()
    except ArchiveError:
        return
    for batch in open_source(path).batches(max_rows=8, columns="keys"):
        keys += batch.select(["machine", "boot"]).to_pylist()
    assert keys == rows


def archive_seeds() -> Iterator[bytes]:
    small = {"m1/b1": {"binary_bios_measurements": small_log(["sha256"]), "evidence.json": b'{"boot_seq": 7}'}}
    yield tar_bytes(small)
    for kind in ("gz", "xz", "zst", "zip", "parquet"):
        with tempfile.TemporaryDirectory() as folder:
            yield make(kind, Path(folder), small).read_bytes()
    yield tar_bytes()


def mutate_archive(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """Of a tar also its blocks, and its checksums are made right again."""
    if data[257:262] != b"ustar" or seed % 8 == 0:
        return own(data, most)
    choose = random.Random(seed)
    blocks = [bytearray(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
    which = choose.randrange(len(blocks))
    match choose.randrange(4):
        case 0:
            del blocks[which]
        case 1:
            blocks.insert(choose.randrange(len(blocks)), bytearray(blocks[which]))
        case 2:
            at = choose.choice([0, 100, 124, 135, 156, 157, 257, 263, 329, 345, choose.randrange(BLOCK)])
            own_field = own(bytes(blocks[which][at : at + 12]), 12)
            blocks[which][at : at + len(own_field)] = own_field
        case _:
            blocks[which][156:157] = choose.choice([b"0", b"1", b"2", b"5", b"6", b"L", b"K", b"x", b"g", b"S", b"V"])
    for block in blocks:
        if len(block) == BLOCK and block[257:262] == b"ustar":
            block[148:156] = b" " * 8
            block[148:156] = b"%06o\0 " % sum(block)
    return b"".join(blocks)[:most]


def check_verdicts(data: bytes) -> None:
    with contextlib.suppress(ArchiveError):
        for batch in read_verdicts(str(_on_disk(data))):
            batch.validate(full=True)


def verdict_seeds() -> Iterator[bytes]:
    import pyarrow.parquet as pq
    from verdict_rows import finding, stages, verdict_row

    from pyverify.appraise.verdict import VERDICT_SCHEMA
    from pyverify.output.tables import json_rows

    rows = [verdict_row("m1"), verdict_row("m2", "untrusted", finding("pcr.mismatch"), stages=stages(2))]
    table = pa.Table.from_pylist(rows, schema=VERDICT_SCHEMA)
    objects = [row for batch in table.to_batches() for row in json_rows(batch)]
    yield "\n".join(map(json.dumps, objects)).encode()
    yield json.dumps(objects).encode()
    out = io.BytesIO()
    pq.write_table(table, out)
    yield out.getvalue()


LOG_ONLY = Policy.preset("log-only")
EVIL = small_log(["sha1", "sha256"], command_line=b"evil")
ROWS = evidence_batch([Evidence(machine, "b", event_log=EVIL) for machine in ("m", "all", "other")])
"""One batch, as what an appraisal costs is nearly the same for one row and for three."""


def check_references(data: bytes) -> None:
    """A snapshot is refused, or all of it can be used: no row of it makes an appraisal fail in another way."""
    try:
        references = References(pa.py_buffer(data))
    except ReferencesError:
        return
    with contextlib.suppress(PyverifyError):
        appraisal = Appraisal(ROWS, references, LOG_ONLY, NOW)
        for row in appraisal.verdicts().to_pylist():
            Verdict.from_row(row)
        for boot in appraisal.booted().to_pylist():
            reached_in(boot, references, NOW)


def mutate_references(data: bytes, most: int, seed: int, own: Callable[[bytes, int], bytes]) -> bytes:
    """A snapshot that is well formed as Arrow sees it, with other values in it."""
    choose = random.Random(seed)
    try:
        with pa.ipc.open_file(pa.BufferReader(data)) as reader:
            batches = [reader.get_batch(i) for i in range(reader.num_record_batches)]
            schema = reader.schema
        for batch in batches:
            batch.validate(full=True)
        rows = [batch.to_pylist()[0] for batch in batches]
        places = json_trees.places(rows)
        for _ in range(choose.randrange(1, 4)):
            holder, key = choose.choice(places)
            holder[key] = _other_value(choose, holder[key], own)
        sink = pa.BufferOutputStream()
        with pa.ipc.new_file(sink, schema) as writer:
            for row in rows:
                writer.write_batch(pa.RecordBatch.from_pylist([row], schema=schema))
        return sink.getvalue().to_pybytes()[:most]
    except (pa.ArrowException, ValueError, TypeError, KeyError, IndexError, OverflowError, OSError):
        return own(data, most)


def _other_value(choose: random.Random, value: Any, own: Callable[[bytes, int], bytes]) -> Any:
    match value:
        case int() if not isinstance(value, bool):
            return max(0, choose.choice([value + 1, value - 1, 0, 23, 1 << choose.randrange(1, 32), value ^ 1]))
        case bool():
            return not value
        case bytes():
            return own(value, len(value)) if choose.randrange(2) else value[:-1]
        case str():
            return choose.choice(["", "m", "all", "machine", "cohort", "active", "revoked", value + "x"])
        case list():
            return choose.choice([[], value[1:], value + value[:1], value[::-1], None])
        case _:
            return None


def references_seeds() -> Iterator[bytes]:
    for baselines in ([of_log()], [of_log(), everything()], []):
        with tempfile.TemporaryDirectory() as folder:
            References.of(baselines).save(Path(folder) / "r")
            yield (Path(folder) / "r").read_bytes()


TARGETS = {
    "archive": Target(check_archive, archive_seeds, 32768, mutate_archive),
    "verdict_files": Target(check_verdicts, verdict_seeds, 16384, json_trees.mutate_json),
    "references": Target(check_references, references_seeds, 65536, mutate_references),
}
