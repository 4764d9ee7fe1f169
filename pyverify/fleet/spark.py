"""Verification on an Apache Spark cluster: the same code for every batch, run by the cluster's workers.

What runs there is the first pass alone, which is a function of its inputs (``job.appraise``). It returns verdicts and,
beside them, the narrow facts of quotes, boots and IMA lists; rules that need other rows, the spending of nonces and the
store stay with :func:`pyverify.fleet.job.run` in the driver, so that it is all one code whether there is a cluster or
not::

    session = SparkSession.builder.master("spark://head:7077").getOrCreate()
    with Store.open("pyverify.db") as store:
        verdicts = run(
            SparkArchive(session, open_source("/shared/evidence")),
            references=store.references(), policy=Policy.preset("default"), as_of=now, jobs=1,
            summary=Summary("default", b"", now), ledger=Ledger(store), remember=partial(remember, store),
        )

On the command line: ``pyverify verify /shared/evidence --engine spark --master spark://head:7077``, or the same under
``spark-submit`` without ``--master``.

*References to data, not data.* Of a Parquet archive only (file, row group) travel; workers read it themselves, so it
must be at the same absolute path for all, on a shared file system; verdicts name it so in ``source``. Write it with row
groups of some thousand boots, which are what work is dealt out by. Folders, tars and zips are read by the driver, which
sends the rows: slower, for small clusters; pack them first. :class:`SparkFrame` takes rows of evidence that are in a
data frame already.

*On every worker*: Java 17 and the same version of pyverify, which is checked. ``PYSPARK_PYTHON`` names the interpreter
that has it, else workers start whatever ``python3`` is (the command line sets it to its own, where it is not set).

*The references* go to each executor once, as a file (``SparkContext.addFile``) named by its content hash, which workers
check; they map it into memory. The policy goes along pickled, with the files that it names; so do its rules in Python,
which must be picklable, and modules that they come from must be importable by the workers.

*Memory.* ``spark.sql.execution.arrow.maxRecordsPerBatch`` is 10,000 by default: of rows of 40 KB in a data frame that
is 400 MB a batch; set 256 to 1,000 for :class:`SparkFrame`. The driver holds the verdicts of three waves of work, four
row groups a core each; ``spark.driver.maxResultSize`` bounds a wave.

*Lost workers cost time, not rows.* Spark does their tasks again elsewhere (``spark.task.maxFailures``), which gives the
same; that each row group came back once, with as many verdicts as it has rows, is checked here before anything is
believed. A file that cannot be read ends the run as it does without a cluster: with the verdicts of all before it.

*Trust.* Whoever can run code on a worker or speak to it decides what it says: set ``spark.authenticate`` and
``spark.network.crypto.enabled``, and let nobody else submit jobs to such a cluster.
"""

from __future__ import annotations

import atexit
import contextlib
import datetime
import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.compute as pc

from pyverify.appraise.booted import BOOTED
from pyverify.appraise.policy import Policy
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.baseline.references import References
from pyverify.errors import ArchiveError, ClusterError, UsageError
from pyverify.fleet.job import BATCH_ROWS, ordered_map
from pyverify.fleet.journal import Appraised
from pyverify.fleet.list_facts import LIST_FACTS
from pyverify.fleet.parquet import ParquetSource
from pyverify.fleet.quote_facts import QUOTE_FACTS
from pyverify.fleet.sources import Source
from pyverify.fleet.spark_worker import RESULT_COLUMNS, TASKS, Work, packed, unpacked

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

_TASKS_A_CORE: Final = 4
"""Pieces of work that a wave has for each core: enough to even out those that take longer."""
_WAVES: Final = 2
"""Waves at a time: while the last tasks of one run, cores that are done work on the next."""
_WAVE_BYTES: Final = 32 << 20
"""Evidence that the driver sends in a wave; Spark deals out a table of up to 48 MB row by row
(``spark.sql.execution.arrow.localRelationThreshold``), a larger one not at all."""
_LEAST_BYTES: Final = 1 << 18

_Task = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SparkArchive:
    """An archive that the workers of a cluster appraise: give it to :func:`pyverify.fleet.job.run`."""

    session: SparkSession
    source: Source

    def appraised(self, references: References, policy: Policy, as_of: datetime.datetime) -> Iterator[Appraised]:
        """What each batch of the archive comes to, in the archive's order.

        Raises:
            ArchiveError: the archive breaks off; all before has been yielded.
            UsageError: the policy has a rule that cannot be pickled.
            ClusterError: the cluster did not do the work.
        """
        work = _work(self.session, references, policy, as_of)
        size = _TASKS_A_CORE * self.session.sparkContext.defaultParallelism
        waves = _in_waves(self._tasks(size), size)
        for results, tasks in ordered_map(lambda tasks: (self._collect(work, tasks), tasks), waves, _WAVES):
            yield from _of_tasks(results, tasks, work)

    def _tasks(self, size: int) -> Iterator[_Task]:
        """All the work, in order."""
        if isinstance(self.source, ParquetSource) and self.source.is_local:
            groups = (group for group in self.source.row_groups() if group.rows)
            for number, group in enumerate(groups):
                yield {
                    "number": number,
                    "file": os.fsencode(Path(str(group.path)).absolute()),
                    "row_group": group.number,
                    "rows": group.rows,
                    "evidence": None,
                }
            return
        max_bytes = max(_LEAST_BYTES, _WAVE_BYTES // size)
        for number, batch in enumerate(self.source.batches(max_rows=BATCH_ROWS, max_bytes=max_bytes)):
            yield {"number": number, "rows": len(batch), "evidence": packed(batch)}

    def _collect(self, work: Work, tasks: list[_Task]) -> pa.Table:
        table = pa.Table.from_pylist(tasks, TASKS)
        with _cluster_errors():
            return self.session.createDataFrame(table).mapInArrow(work.of_tasks, RESULT_COLUMNS).toArrow()


@dataclass(frozen=True, slots=True)
class SparkFrame:
    """Rows of evidence in a data frame (columns as in Parquet archives): give it to :func:`pyverify.fleet.job.run`.

    Their order is that of the frame's partitions. Of two quotes over one nonce the first stands: sort the frame where
    that matters.
    """

    evidence: DataFrame

    def appraised(self, references: References, policy: Policy, as_of: datetime.datetime) -> Iterator[Appraised]:
        """What each batch of the frame comes to; errors as of :class:`SparkArchive`.

        Results wait on the workers' disks and are fetched partition by partition.
        """
        from pyspark import StorageLevel

        work = _work(self.evidence.sparkSession, references, policy, as_of)
        with _cluster_errors():
            results = self.evidence.mapInArrow(work.of_rows, RESULT_COLUMNS).persist(StorageLevel.DISK_ONLY)
        try:
            with _cluster_errors():
                results.count()  # all partitions at a time; an iterator alone would have them done one by one
                rows = results.toLocalIterator(prefetchPartitions=True)
            while True:
                with _cluster_errors():
                    row = next(rows, None)
                if row is None:
                    return
                if row["error"] is not None:
                    raise ArchiveError(row["error"])
                yield _appraised([pa.py_buffer(row[name]) for name in _PARTS], work)
        finally:
            results.unpersist()


_PARTS: Final = {"verdicts": VERDICT_SCHEMA, "quotes": QUOTE_FACTS, "booted": BOOTED, "lists": LIST_FACTS}


def _in_waves(tasks: Iterator[_Task], size: int) -> Iterator[list[_Task]]:
    """The tasks, so many at a time; where the archive breaks off, those before that too."""
    wave: list[_Task] = []
    try:
        for task in tasks:
            wave.append(task)
            if len(wave) == size:
                yield wave
                wave = []
    except ArchiveError:
        if wave:
            yield wave
        raise
    if wave:
        yield wave


def _of_tasks(results: pa.Table, tasks: list[_Task], work: Work) -> Iterator[Appraised]:
    """What the tasks of a wave come to: each of them once, with as many verdicts as it has rows."""
    numbers, errors = (results.column(name).to_pylist() for name in ("number", "error"))
    parts = zip(*(chain.from_iterable(results.column(name).chunks) for name in _PARTS), strict=True)
    rows = zip(numbers, errors, parts, strict=True)
    for task in tasks:
        left = task["rows"]
        while left > 0:
            number, error, scalars = next(rows, (None, None, ()))
            if error is not None:
                raise ArchiveError(error)
            if number != task["number"]:
                raise ClusterError(f"no verdicts came back on {left} rows of task {task['number']}")
            appraised = _appraised([scalar.as_buffer() for scalar in scalars], work)
            left -= len(appraised.verdicts)
            yield appraised
        if left:
            raise ClusterError(f"more verdicts came back than rows are in task {task['number']}")
    if (rest := next(rows, None)) is not None:
        raise ArchiveError(rest[1]) if rest[1] else ClusterError(f"task {rest[0]} came back again")


def _appraised(parts: Iterable[pa.Buffer], work: Work) -> Appraised:
    """What a batch comes to, if it was judged by what was asked for."""
    pairs = zip(parts, _PARTS.values(), strict=True)
    verdicts, *facts = (unpacked(data, schema) for data, schema in pairs)
    asked = {"policy_id": work.policy.id, "references_id": work.references_id, "as_of": work.as_of}
    for name, value in asked.items():
        column = verdicts.column(name)
        if not pc.all(pc.fill_null(pc.equal(column, pa.scalar(value, column.type)), False)).as_py():
            raise ClusterError(f"a worker judged by another {name} than it was asked to")
    return Appraised(b"", verdicts, *facts)


def _work(session: SparkSession, references: References, policy: Policy, as_of: datetime.datetime) -> Work:
    """What the workers are to do, with the references on their way.

    Raises:
        UsageError: a rule of the policy cannot be pickled, or the time has no time zone.
    """
    from pyspark import cloudpickle

    if as_of.tzinfo is None:
        raise UsageError("as_of needs a time zone")
    try:
        cloudpickle.dumps(policy)
    except Exception as error:
        names = ", ".join(rule.name for rule in policy.rules)
        raise UsageError(f"rules in Python go to the workers pickled, and of {names} one cannot be: {error}") from error
    return Work.of(_ship(session, references), references.id, policy, as_of)


_shipped: set[tuple[str, str]] = set()
"""Applications, and the files that theirs executors can have."""


def _ship(session: SparkSession, references: References) -> str:
    """Makes the references a file that each executor fetches once; its name there.

    The file stays as long as this process, for executors that join later.
    """
    name = f"references-{references.id.hex()}.arrow"
    path = _folder() / name
    if not path.exists():
        references.save(path)
    context = session.sparkContext
    if (context.applicationId, name) not in _shipped:
        with _cluster_errors():
            context.addFile(str(path))
        _shipped.add((context.applicationId, name))
    return name


@cache
def _folder() -> Path:
    folder = tempfile.TemporaryDirectory(prefix="pyverify-spark-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


@contextlib.contextmanager
def _cluster_errors() -> Iterator[None]:
    """What Spark raises as an error of this package, shortened to its first line."""
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    try:
        yield
    except (PySparkException, Py4JError, ConnectionError) as error:
        lines = [line for line in str(error).splitlines() if line.strip()]
        told = next(
            (line for line in reversed(lines) if line.startswith("pyverify.errors.")), lines[0] if lines else ""
        )
        raise ClusterError(f"Spark gave up: {told or type(error).__name__}") from error
