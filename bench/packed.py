"""Packed archives: what the whole job takes beside its parts, a fleet that repeats itself, and size beside tar.zst."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Final

import pyarrow.parquet as pq

from bench import machine
from bench.archives import write_folder, write_tar
from bench.baselines import AS_OF, POLICY, learn_into
from bench.fleet import Fleet
from bench.memory_source import FleetSource, MemorySource
from bench.plan import Plan
from bench.results import Line, Note
from pyverify.algorithms import BY_NAME
from pyverify.appraise.log_checks import forget
from pyverify.baseline.references import References
from pyverify.baseline.store import Store
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, Summary, run
from pyverify.fleet.pack import pack
from pyverify.fleet.sources import Source, open_source

_BENCH: Final = "verify_parquet"
_BOOTS_OF_ONE: Final = 100
"""Boots of each machine of a fleet that repeats itself: three months of daily ones."""


def packed(plan: Plan, folder: Path) -> Iterator[Line | Note]:
    """CPU time on one thread of the job from a packed archive, a folder and a tar."""
    boots = plan.boots
    seconds = {}
    for kind, fleet in (
        ("distinct", Fleet(boots, 1)),
        ("repeated", Fleet(max(1, boots // _BOOTS_OF_ONE), _BOOTS_OF_ONE)),
    ):
        store, archive = folder / f"{kind}.db", folder / f"{kind}.parquet"
        learn_into(store, fleet)
        with Store.open(str(store)) as opened:
            references = opened.references()
        references.find([])
        done = pack([FleetSource(fleet)], archive)
        source = open_source(archive)
        held = MemorySource(list(source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES)))
        memory = _job(plan, held, references)
        seconds[kind] = _job(plan, source, references)
        parts = memory + _cpu(plan, lambda at=archive: _read_parquet(at))  # type: ignore[misc]
        case = f"all-packed-{kind}-{len(fleet)}"
        yield _line(f"{case}-job", len(fleet) / seconds[kind], "boots/cpu s", "its parts", parts / seconds[kind])
        yield from _size(f"{case}-size", fleet, folder, done.packed_bytes)
        if kind == "distinct":
            yield from _others(plan, fleet, folder, references, memory)
    ratio = seconds["distinct"] / seconds["repeated"]
    yield _line(f"all-packed-repeated-{boots}-rate", ratio, "times", "distinct logs", ratio)


def _others(plan: Plan, fleet: Fleet, folder: Path, references: References, memory: float) -> Iterator[Line]:
    for kind, write, read in (("folder", write_folder, _read_folder), ("tar", write_tar, _read_file)):
        archive = folder / f"distinct-{kind}"
        write(fleet.boots(), archive)
        whole = _job(plan, open_source(archive), references)
        parts = memory + _cpu(plan, lambda read=read, at=archive: read(at))  # type: ignore[misc]
        case = f"all-{kind}-distinct-{len(fleet)}-job"
        yield _line(case, len(fleet) / whole, "boots/cpu s", "its parts", parts / whole)
        shutil.rmtree(archive) if archive.is_dir() else archive.unlink()


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


def _job(plan: Plan, source: Source, references: References) -> float:
    def work() -> None:
        forget()
        summary = Summary(POLICY.name, references.id, AS_OF)
        for _ in run(source, references=references, policy=POLICY, as_of=AS_OF, jobs=1, summary=summary):
            pass

    return _cpu(plan, work)


def _cpu(plan: Plan, work: Callable[[], None]) -> float:
    """The least CPU time of some runs: others on the machine only ever add."""
    taken = []
    for _ in range(plan.short_samples):
        start = process_time()
        work()
        taken.append(process_time() - start)
    return min(taken)


def _read_parquet(path: Path) -> None:
    with pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False) as file:
        for _ in file.iter_batches(batch_size=BATCH_ROWS):
            pass


def _read_folder(path: Path) -> None:
    for folder, _, names in os.walk(path):
        for name in names:
            Path(folder, name).read_bytes()


def _read_file(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 20):
            pass
