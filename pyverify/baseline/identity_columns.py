"""Enrolled keys, challenges and pinned certificates as a references snapshot has them: columns, looked up by name."""

from __future__ import annotations

import copy
import datetime
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.baseline.identity import Challenge, EnrolledKey, KeyLevel, is_key_name, to_micros
from pyverify.baseline.snapshot import Snapshot
from pyverify.evidence.columns import Ragged
from pyverify.evidence.sm2 import Sm2Mode

_KEY_FACTS: Final = ("machine", "ak_name", "since", "until", "level", "sm2_mode")
_CHALLENGE_FACTS: Final = ("ak_name", "nonce", "issued_at", "spent_by")
_LAST: Final = to_micros(datetime.datetime.max.replace(tzinfo=datetime.UTC))


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of the nonces of some quotes, one item a quote.

    ``any`` is whether its key was ever asked; ``entries`` are when its nonce was issued to its key and what spent it,
    None where it never was; ``newest`` is when the newest challenge of its key was issued. Times are microseconds since
    1970.
    """

    any: list[bool]
    entries: list[tuple[int, bytes | None] | None]
    newest: list[int | None]


class Identity:
    """The part of a snapshot that says who the machines are and what they were asked."""

    def __init__(self, enrolled: pa.StructArray, challenges: pa.StructArray, roots: pa.Array) -> None:
        self._enrolled = enrolled
        self._challenges = challenges
        self._roots = roots

    def is_consistent(self) -> bool:
        """Whether no key is two machines', no nonce was issued twice, names are Names, and all is in order."""
        keys = [self._enrolled.field(name) for name in ("machine", "ak_name", "since", "level", "sm2_mode")]
        if any(column.null_count for column in (*keys, self._roots)):
            return False
        _, ak_name, since, level, sm2_mode = keys
        return (
            _are_names(ak_name)
            and set(pc.unique(level).to_pylist()) <= set(KeyLevel)
            and set(pc.unique(sm2_mode).to_pylist()) <= set(Sm2Mode)
            and pc.count_distinct(ak_name).as_py() == len(ak_name)
            and all(map(_are_times, (since, self._enrolled.field("until"))))
            and self.is_asked_consistently()
        )

    def is_asked_consistently(self) -> bool:
        """The same of the challenges alone."""
        asked = [self._challenges.field(name) for name in ("ak_name", "nonce", "issued_at")]
        if any(column.null_count for column in asked):
            return False
        pairs = pa.table({"ak_name": asked[0], "nonce": asked[1]}).group_by(["ak_name", "nonce"]).aggregate([])
        return (
            _are_names(asked[0])
            and len(pairs) == len(asked[0])
            and _is_ascending(asked[0], asked[2])
            and _are_times(asked[2])
        )

    def asking(self, challenges: Sequence[Challenge]) -> Self:
        """The same keys and certificates with these challenges instead of its own."""
        facts = [{name: getattr(one, name) for name in _CHALLENGE_FACTS} for one in in_order(challenges)]
        other = copy.copy(self)
        other._challenges = pa.array(facts, self._challenges.type)
        other.__dict__.pop("_runs", None)  # of the challenges; all else that was worked out is of the keys
        return other

    @cached_property
    def _row_of(self) -> dict[bytes, int]:
        return {name: row for row, name in enumerate(self._enrolled.field("ak_name").to_pylist())}

    @cached_property
    def _rows_of(self) -> dict[str, list[int]]:
        rows: dict[str, list[int]] = {}
        for row, machine in enumerate(self._enrolled.field("machine").to_pylist()):
            rows.setdefault(machine, []).append(row)
        return rows

    @property
    def columns(self) -> pa.StructArray:
        """The enrolled keys as an Arrow struct array: machine, ak_name, since, until, level, sm2_mode."""
        return self._enrolled

    def find(
        self, machines: Sequence[str | None], ak_names: Sequence[bytes | None], *, as_of: datetime.datetime
    ) -> npt.NDArray[np.int32]:
        """The row of :attr:`columns` of each key, if it is the machine's at this time; else -1, ``key.unknown``.

        A key of another machine is as unknown as one that nobody enrolled (attack 81).
        """
        now, (since, until, machine) = to_micros(as_of), self._spans
        rows = [-1 if name is None else self._row_of.get(name, -1) for name in ak_names]
        own = [row >= 0 and machine[row] == wanted for row, wanted in zip(rows, machines, strict=True)]
        found = np.where(np.array(own, np.bool_), np.array(rows, np.int32), np.int32(-1))
        in_time = (since[found] <= now) & (now < until[found]) if len(since) else np.zeros(len(found), np.bool_)
        found[~in_time] = -1
        return found

    @cached_property
    def _spans(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[str]]:
        """Of each key, from when on and until before when it is its machine's."""
        since = self._enrolled.field("since").cast(pa.int64()).to_numpy()
        until = pc.fill_null(self._enrolled.field("until").cast(pa.int64()), _LAST + 1).to_numpy()
        return since, until, self._enrolled.field("machine").to_pylist()

    def key(self, ak_name: bytes) -> EnrolledKey | None:
        """An enrolled key by its Name."""
        row = self._row_of.get(ak_name)
        return None if row is None else self._key(row)

    def ak_of(self, machine: str) -> list[EnrolledKey]:
        """The keys of a machine, past and present."""
        return [self._key(row) for row in self._rows_of.get(machine, [])]

    def machine_of(self, ak_name: bytes) -> str | None:
        """The one machine that a key is or was enrolled for."""
        key = self.key(ak_name)
        return None if key is None else key.machine

    def _key(self, row: int) -> EnrolledKey:
        facts = self._enrolled[row].as_py()
        return EnrolledKey(**(facts | {"level": KeyLevel(facts["level"]), "sm2_mode": Sm2Mode(facts["sm2_mode"])}))

    @cached_property
    def levels(self) -> npt.NDArray[np.int64]:
        """Of each row of :attr:`columns`, the rank of its level."""
        ranks: npt.NDArray[np.int64] = pc.index_in(self._enrolled.field("level"), pa.array(list(KeyLevel))).to_numpy()
        return ranks.astype(np.int64)

    @cached_property
    def signs_in_za(self) -> npt.NDArray[np.bool_]:
        """Of each row of :attr:`columns`, whether it is an SM2 key in ``za`` mode."""
        is_za = pc.equal(self._enrolled.field("sm2_mode"), str(Sm2Mode.ZA))
        return np.asarray(is_za.to_numpy(zero_copy_only=False), np.bool_)

    @cached_property
    def _runs(self) -> tuple[dict[bytes, int], npt.NDArray[np.int64]]:
        """A number for each key that was asked; its challenges stand together, from the number's bound to the next."""
        runs = pc.run_end_encode(self._challenges.field("ak_name"))
        bounds = np.concatenate([np.zeros(1, np.int64), runs.run_ends.to_numpy()])
        return {name: number for number, name in enumerate(runs.values.to_pylist())}, bounds

    def asked(self, ak_names: Sequence[bytes | None], nonces: Sequence[bytes], *, as_of: datetime.datetime) -> Asked:
        """What each of these keys was asked, in one go for a batch of quotes, by the time ``as_of``."""
        number_of, bounds = self._runs
        number = np.array([number_of.get(name or b"", -1) for name in ak_names], np.int64)
        keys, key_of = np.unique(number, return_inverse=True)
        first = bounds[keys]
        size = np.where(keys >= 0, bounds[(keys + 1) % len(bounds)] - first, 0)
        begins = np.cumsum(size) - size
        rows = np.repeat(first - begins, size) + np.arange(size.sum())
        taken, issued, spent = (
            self._challenges.field(name).take(pa.array(rows)) for name in ("nonce", "issued_at", "spent_by")
        )
        issued_at = issued.cast(pa.int64()).to_numpy()
        spent_by = [None] * len(spent) if spent.null_count == len(spent) else spent.to_pylist()
        entries = zip(issued_at.tolist(), spent_by, strict=True)
        # A dict's keyed hash gives nothing of a nonce away.
        issued_to = zip(np.repeat(keys, size).tolist(), Ragged.from_arrow(taken).to_list(), strict=True)
        by_nonce = dict(zip(issued_to, entries, strict=True))
        # The times of a key ascend, so the newest until then is the last of those.
        until = np.concatenate([[0], np.cumsum(issued_at <= to_micros(as_of))])
        count = until[begins + size] - until[begins]
        last = np.append(issued_at, 0)[begins + count - 1].tolist()
        newest = [time if any_until else None for time, any_until in zip(last, count.tolist(), strict=True)]
        return Asked(
            any=(number >= 0).tolist(),
            entries=[by_nonce.get(pair) for pair in zip(number.tolist(), nonces, strict=True)],
            newest=[newest[key] for key in key_of.tolist()],
        )

    def challenges(self, ak_name: bytes) -> list[Challenge]:
        """The challenges of a key, oldest first."""
        number_of, bounds = self._runs
        number = number_of.get(ak_name)
        first, last = (0, 0) if number is None else bounds[number : number + 2].tolist()
        return [Challenge(**row) for row in self._challenges[first:last].to_pylist()]

    @cached_property
    def roots(self) -> list[bytes]:
        """The pinned certificates, DER."""
        found: list[bytes] = self._roots.to_pylist()
        return found


def in_order(challenges: Iterable[Challenge]) -> list[Challenge]:
    """Challenges as a snapshot has them: those of a key together, and its newest last."""
    return sorted(challenges, key=lambda one: (one.ak_name, to_micros(one.issued_at), one.nonce))


def challenges_digest(challenges: Iterable[Challenge]) -> bytes:
    """SHA-256 over challenges, whatever their order."""
    told = hashlib.sha256()
    for one in in_order(challenges):
        for part in (one.ak_name, one.nonce, one.spent_by or b"", to_micros(one.issued_at).to_bytes(8)):
            told.update(len(part).to_bytes(4) + part)
    return told.digest()


def add_identity(
    snapshot: Snapshot, enrolled: Sequence[EnrolledKey], challenges: Sequence[Challenge], roots: Sequence[bytes]
) -> None:
    """Writes keys, challenges and pinned certificates into a snapshot in the order that it wants."""
    for key in sorted(enrolled, key=lambda k: k.ak_name):
        snapshot.add("enrolled", {name: getattr(key, name) for name in _KEY_FACTS})
    for challenge in in_order(challenges):
        snapshot.add("challenges", {name: getattr(challenge, name) for name in _CHALLENGE_FACTS})
    for der in sorted(set(roots)):
        snapshot.add("roots", der)


def _are_names(column: pa.Array) -> bool:
    return all(map(is_key_name, pc.unique(column).to_pylist()))


def _are_times(column: pa.Array) -> bool:
    """Whether all are times of this calendar, from 1970 on, which a damaged store or file need not have."""
    span = pc.min_max(column.cast(pa.int64())).as_py()
    return span["min"] is None or (span["min"] >= 0 and span["max"] <= _LAST)


def _is_ascending(ak_name: pa.Array, issued_at: pa.Array) -> bool:
    """Whether equal names stand together in order, and times ascend within each."""
    is_next = pc.less(ak_name[:-1], ak_name[1:])
    is_same = pc.equal(ak_name[:-1], ak_name[1:])
    is_later = pc.less_equal(issued_at[:-1], issued_at[1:])
    return pc.all(pc.or_(is_next, pc.and_(is_same, is_later)), min_count=0).as_py() is not False
