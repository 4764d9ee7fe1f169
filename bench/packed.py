"""Packed archives: what the whole job takes beside its parts, a fleet that repeats itself, and size beside tar.zst."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import process_time
from typing import Final

import pyarrow.parquet as pq

from bench import machine
from bench.archives import record_batches, write_folder, write_tar
from bench.baselines import AS_OF, POLICY, learn_into
from bench.fleet import Fleet
from bench.memory_source import MemorySource, StreamedSource
from bench.plan import Plan
from bench.results import Line, Note
from pyverify.algorithms import BY_NAME
from pyverify.appraise.log_checks import forget
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, run
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import Source, open_source

_Work = Callable[[], None]

_BENCH: Final = "verify_parquet"
_BOOTS_OF_ONE: Final = 100
"""Boots of each machine of a fleet that repeats itself: three months of daily ones."""


def packed(plan: Plan, folder: Path) -> Iterator[Line | Note]:
    """CPU time on one thread of the job from a packed archive, a folder and a tar."""
    boots = plan.boots
    jobs = []
    for kind, fleet in (
        ("distinct", Fleet(boots, 1)),
        ("repeated", Fleet(max(1, boots // _BOOTS_OF_ONE), _BOOTS_OF_ONE)),
    ):
        store, archive = folder / f"{kind}.db", folder / f"{kind}.parquet"
        learn_into(store, fleet)
        with Store.open(str(store)) as opened:
            references = opened.references()
        references.find([])
        done = pack([StreamedSource(len(fleet), partial(record_batches, fleet.boots()))], archive)
        source = open_source(archive)
        jobs.append(_job(source, references))
        held = MemorySource(list(source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)))
        memory = _job(held, references)
        case = f"all-packed-{kind}-{len(fleet)}"
        yield _beside_parts(plan, f"{case}-job", fleet, jobs[-1], memory, partial(_read_parquet, archive))
        yield from _size(f"{case}-size", fleet, folder, done.packed_bytes)
        if kind == "distinct":
            yield from _beside_pyarrow(plan, case, fleet, source, jobs[-1], archive)
            yield from _others(plan, fleet, folder, references, memory)
    distinct, repeated = _cpu(plan, *jobs)
    yield _line(f"all-packed-repeated-{boots}-rate", distinct / repeated, "times", "distinct logs", distinct / repeated)


def _others(plan: Plan, fleet: Fleet, folder: Path, references: References, memory: _Work) -> Iterator[Line]:
    for kind, write, read in (("folder", write_folder, _read_folder), ("tar", write_tar, _read_file)):
        archive = folder / f"distinct-{kind}"
        write(fleet.boots(), archive)
        case = f"all-{kind}-distinct-{len(fleet)}-job"
        yield _beside_parts(plan, case, fleet, _job(open_source(archive), references), memory, partial(read, archive))
        shutil.rmtree(archive) if archive.is_dir() else archive.unlink()


def _beside_parts(plan: Plan, case: str, fleet: Fleet, job: _Work, *parts: _Work) -> Line:
    whole, *seconds = _cpu(plan, job, *parts)
    return _line(case, len(fleet) / whole, "boots/cpu s", "its parts", sum(seconds) / whole)


def _beside_pyarrow(plan: Plan, case: str, fleet: Fleet, source: Source, job: _Work, archive: Path) -> Iterator[Line]:
    """Reading as the job does, and the job, beside pyarrow that reads the file and does nothing with it."""
    reading = partial(_read_source, source)
    ours, whole, theirs = _cpu(plan, reading, job, partial(_read_parquet, archive))
    for name, seconds in (("read", ours), ("job", whole)):
        yield _line(f"{case}-{name}", len(fleet) / seconds, "boots/cpu s", "pyarrow", theirs / seconds)


def _size(case: str, fleet: Fleet, folder: Path, size: int) -> Iterator[Line | Note]:
    if shutil.which("zstd") is None:
        yield Note(_BENCH, f"{case}: without zstd there is nothing to compare with")
        return
    write_tar(fleet.boots(), folder / "peer.tar")
    subprocess.run(["zstd", "-q", "-f", "--rm", folder / "peer.tar"], check=True)
    peer = (folder / "peer.tar.zst").stat().st_size
    yield _line(case, size / 1e6, "MB", "tar.zst", peer / size)


def _line(case: str, value: float, unit: str, peer: str, ratio: float) -> Line:
    return Line(_BENCH, case, machine.isa(tuple(BY_NAME)), 1, value, unit, peer, ratio)


def _job(source: Source, references: References) -> _Work:
    def work() -> None:
        forget()
        summary = Summary(POLICY.name, references.id, AS_OF)
        for _ in run(source, references=references, policy=POLICY, as_of=AS_OF, jobs=1, summary=summary):
            pass

    return work


def _cpu(plan: Plan, *works: _Work) -> list[float]:
    """The least CPU time of some runs of each, taken in turn: others on the machine only ever add."""
    least = [math.inf] * len(works)
    for _ in range(plan.short_samples):
        for number, work in enumerate(works):
            start = process_time()
            work()
            least[number] = min(least[number], process_time() - start)
    return least


def _read_parquet(path: Path) -> None:
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for _ in file.iter_batches(batch_size=BATCH_ROWS):
            pass


def _read_source(source: Source) -> None:
    for _ in source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES):
        pass


def _read_folder(path: Path) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            Path(folder, name).read_bytes()


def _read_file(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
