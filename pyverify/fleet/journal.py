"""What a verification has appraised so far, so that one that was killed goes on where it was.

Beside the output lies a folder with the verdicts of all batches that are finished, and the facts that the second pass
needs, in numbered part files which appear only when they are whole. A verdict is a function of the row, the policy, the
references and the time: the last three are bound by ``journal.json``, and each batch carries a digest of its rows, so
that what was kept is used for those rows only. Any other batch is appraised again; nothing is lost and nothing doubled,
whatever became of the archive meanwhile.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Final, NamedTuple, Self

import pyarrow as pa

from pyverify.appraise.booted import BOOTED
from pyverify.appraise.rows import conform, ids_of
from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.baseline.references import References
from pyverify.errors import OutputError, ReferencesError
from pyverify.fleet.list_facts import LIST_FACTS
from pyverify.fleet.partial import finished_file, remove_unfinished, writing
from pyverify.fleet.quote_facts import QUOTE_FACTS

_PART_ROWS: Final = 16_384
_PART_SECONDS: Final = 5.0
"""A part file ends at either: what is appraised again after a kill."""

_JOURNAL: Final = "journal.json"
_REFERENCES: Final = "references.arrow"
_COMPLETE: Final = "complete"
_DIGEST: Final = "rows"
_KEYS: Final = ("schema_version", "machine", "boot", "boot_seq", "collected_at", "source", "fault")
_SCHEMAS: Final = (VERDICT_SCHEMA, QUOTE_FACTS, BOOTED, LIST_FACTS)


class Appraised(NamedTuple):
    """A batch that was appraised: a digest of its rows, their verdicts, and the facts for the second pass."""

    digest: bytes
    verdicts: pa.RecordBatch
    quotes: pa.RecordBatch
    booted: pa.RecordBatch
    lists: pa.RecordBatch


def rows_digest(batch: pa.RecordBatch, ids: list[bytes] | None = None) -> bytes:
    """SHA-256 over all that an appraisal reads of a batch. ``ids`` are the evidence ids of its rows where known."""
    if ids is None:
        ids = ids_of(conform(batch))
    keys = batch.select([name for name in _KEYS if name in batch.schema.names])
    return hashlib.sha256(b"".join(ids) + memoryview(keys.serialize())).digest()


@dataclass(frozen=True, slots=True)
class Bound:
    """What verdicts hang on beside the rows; a journal is good for that and nothing else."""

    policy_id: str
    references_id: str
    as_of: str
    head: str
    """The store's head when the references were taken: number and digest."""

    @classmethod
    def of(cls, policy_id: bytes, references: References, as_of: datetime.datetime, head: str) -> Self:
        """As text."""
        return cls(policy_id.hex(), references.id.hex(), as_of.isoformat(), head)


class Journal:
    """The folder of one verification. The caller keeps others out of it (:func:`pyverify.fleet.partial.locked`)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: list[Appraised] = []
        self._since = time.monotonic()
        remove_unfinished(folder)
        self._parts = sorted(folder.glob("part-????????-????????.arrow"))

    @property
    def has_parts(self) -> bool:
        """Whether anything is finished, and worth to go on with."""
        return bool(self._parts)

    @property
    def _ends_at(self) -> int:
        """Batches that are finished; the names of the parts say so."""
        return int(self._parts[-1].stem.rpartition("-")[2]) if self._parts else 0

    @property
    def is_complete(self) -> bool:
        """Whether all batches were appraised, so that only the second pass or the output was left to do."""
        return (self._folder / _COMPLETE).exists()

    def bound(self) -> Bound:
        """What an interrupted verification was bound to.

        Raises:
            OutputError: the journal is not one of this version.
        """
        try:
            found = json.loads((self._folder / _JOURNAL).read_bytes())
            if (made_by := found.pop("pyverify")) != version("pyverify"):
                raise ValueError(f"begun by pyverify {made_by}, which may judge otherwise")
            bound = Bound(**{name: str(value) for name, value in found.items()})
            datetime.datetime.fromisoformat(bound.as_of)
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._broken(_JOURNAL, error) from error
        return bound

    def begin(self, bound: Bound, references: References | None) -> None:
        """Binds a new journal; ``references`` are kept where the second pass will change the store they are from."""
        for path in self._folder.iterdir():
            path.unlink()
        self._parts = []
        if references is not None:
            with finished_file(self._folder / _REFERENCES) as file:
                references.save(Path(file.name))
        with finished_file(self._folder / _JOURNAL) as file:
            file.write(json.dumps({"pyverify": version("pyverify"), **asdict(bound)}).encode())

    def references(self) -> References:
        """The references that were kept.

        Raises:
            OutputError: there are none, or they are broken.
        """
        try:
            return References.load(self._folder / _REFERENCES)
        except ReferencesError as error:
            raise self._broken(_REFERENCES, error) from error

    def finished(self) -> Iterator[Appraised]:
        """The batches that are finished, in their order."""
        for part in self._parts:
            try:
                with pa.OSFile(str(part)) as file:
                    batches = list(_read(file.read_buffer()))
            except (pa.ArrowException, OSError, ValueError, KeyError) as error:
                raise self._broken(part.name, error) from error
            yield from batches

    def recorded(self, appraised: Iterator[Appraised]) -> Iterator[Appraised]:
        """Passes batches on, keeping those that are not kept yet."""
        known = self._ends_at
        for number, batch in enumerate(appraised):
            if number >= known:
                self._keep(batch)
            yield batch
        self._flush()
        with finished_file(self._folder / _COMPLETE):
            pass

    def _keep(self, batch: Appraised) -> None:
        self._held.append(batch)
        rows = sum(len(one.verdicts) for one in self._held)
        if rows >= _PART_ROWS or time.monotonic() - self._since >= _PART_SECONDS:
            self._flush()

    def _flush(self) -> None:
        if self._held:
            first = self._ends_at
            path = self._folder / f"part-{first:08}-{first + len(self._held):08}.arrow"
            with writing(path), finished_file(path) as file:
                _write(file, self._held)
            self._parts.append(path)
        self._held, self._since = [], time.monotonic()

    def _broken(self, name: str, error: Exception) -> OutputError:
        return OutputError(f"{self._folder / name}: cannot be gone on with ({error}); remove the folder to begin anew")


def _write(file: IO[bytes], batches: list[Appraised]) -> None:
    """One stream after the other: verdicts, each batch with its digest, quotes, boots, IMA lists."""
    for at, schema in enumerate(_SCHEMAS, start=1):
        with pa.ipc.new_stream(file, schema) as stream:
            for batch in batches:
                stream.write_batch(batch[at], custom_metadata={_DIGEST: batch.digest.hex()})


def _read(data: pa.Buffer) -> Iterator[Appraised]:
    source = pa.BufferReader(data)
    streams = []
    for schema in _SCHEMAS:
        with pa.ipc.open_stream(source) as stream:
            if stream.schema != schema:
                raise ValueError("of another version")
            streams.append([(batch, meta[_DIGEST]) for batch, meta in stream.iter_batches_with_custom_metadata()])
    for parts in zip(*streams, strict=True):
        batches, digests = zip(*parts, strict=True)
        yield Appraised(bytes.fromhex(digests[0].decode()), *batches)
