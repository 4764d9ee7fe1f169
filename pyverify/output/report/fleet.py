"""Verdict rows of many files packed into columns for the page: machines, their boots, which is the newest."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pyverify.errors import UsageError
from pyverify.evidence.pcrs import PCR_NAMES
from pyverify.evidence.text import escape
from pyverify.output.report.findings import FindingPool
from pyverify.output.report.pools import Codes, Pool, list_codes, struct_codes

MAX_ROWS: Final = 2_000_000
"""Verdict rows that a browser still opens in seconds."""
VERDICTS: Final = ("untrusted", "error", "unmeasured", "trusted")
"""The worst first, as the page sorts them."""

_NAME: Final = 200
_NO_TIME: Final = np.iinfo(np.int64).min
_PROFILE: Final = (
    "verdict",
    "attested",
    "key",
    "stages",
    "findings",
    "baseline",
    "policy",
    "references",
    "proven",
    "unproven",
    "cohort",
)
_ROW: Final = ("machine", "boot", "time", "file", "profile", "source", "row_group", "row", "detail")


class Fleet:
    """Collects verdict files. What repeats (a verdict with its reasons, most of all) is kept once."""

    def __init__(self) -> None:
        self._files: list[dict[str, Any]] = []
        self._as_of: list[int] = []
        self._machines, self._boots, self._names = Pool(), Pool(), Pool()
        self._findings, self._stages, self._profiles = FindingPool(), Pool(), Pool()
        self._baselines, self._proofs, self._stage_lists = Pool(), Pool(), Pool()
        self._details: list[tuple[int, int]] = []
        self._rows: list[npt.NDArray[np.int64]] = []
        self._evidence: list[npt.NDArray[np.uint64]] = []
        self._n = 0

    def add(self, name: str, batches: Iterable[pa.RecordBatch]) -> None:
        """Takes in the rows of one verdict file.

        Raises:
            UsageError: these are more than :data:`MAX_ROWS` rows in all.
        """
        number, as_of, first = len(self._files), _NO_TIME, self._n
        ids: dict[str, set[int]] = {"policy_id": set(), "references_id": set()}
        for batch in batches:
            self._n += len(batch)
            if self._n > MAX_ROWS:
                raise UsageError(f"more than {MAX_ROWS:,} verdicts are too many for one page: give it fewer files")
            self._add(number, batch)
            as_of = max([as_of, *_seconds(batch.column("as_of")).tolist()])
            for column, seen in ids.items():
                seen.update(self._findings.hex.codes(batch.column(column), bytes.hex).tolist())
        self._as_of.append(as_of)
        self._files.append(
            {
                "name": escape(name, _NAME),
                "as_of": None if as_of == _NO_TIME else as_of,
                "rows": self._n - first,
                "policies": sorted(ids["policy_id"] - {-1}),
                "references": sorted(ids["references_id"] - {-1}),
            }
        )

    def _add(self, file: int, batch: pa.RecordBatch) -> None:
        named = self._names.codes
        machine = batch.column("machine")
        findings, lists, items = list_codes(batch.column("findings"))
        numbers = np.array([self._findings.list_of([items[i] for i in one]) for one in lists] + [0], np.int64)
        stages = self._lists(batch.column("stages"), self._stage, self._stage_lists)
        proven, unproven = (
            self._lists(batch.column(name), _proof, self._proofs) for name in ("pcrs_proven", "pcrs_unproven")
        )
        baseline, baselines = struct_codes(_without_own_name(batch.column("baseline"), machine))
        known = np.array([self._baselines.add(tuple(b.values())) for b in baselines] + [0], np.int64)
        source = batch.column("source").flatten()
        profile = [
            np.array([VERDICTS.index(v) for v in batch.column("verdict").to_pylist()], np.int64),
            named(batch.column("attested"), _name),
            named(batch.column("key"), _name),
            stages,
            numbers[findings],
            known[baseline],
            self._findings.hex.codes(batch.column("policy_id"), bytes.hex),
            self._findings.hex.codes(batch.column("references_id"), bytes.hex),
            proven,
            unproven,
            named(batch.column("cohort"), _name),
        ]
        rows = [
            self._machines.codes(machine.fill_null("?"), _name),
            self._boots.codes(batch.column("boot").fill_null("?"), _name),
            _seconds(batch.column("collected_at")),
            np.full(len(batch), file, np.int64),
            self._profiles_of(np.stack(profile, axis=1)),
            named(source[0], _name),
            source[1].cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False),
            source[2].fill_null(-1).to_numpy(zero_copy_only=False),
            self._details_of(batch, profile[0] != VERDICTS.index("trusted")),
        ]
        self._rows.append(np.stack(rows))
        self._evidence.append(_halves(batch.column("evidence_id")))

    def _lists(self, lists: pa.ListArray, convert: Callable[[dict[str, Any]], Any], pool: Pool) -> Codes:
        codes, distinct, items = list_codes(lists)
        converted = [convert(item) for item in items]
        numbers = [pool.add(tuple(converted[i] for i in one)) for one in distinct]
        return np.array([*numbers, 0], np.int64)[codes]

    def _stage(self, stage: dict[str, Any]) -> int:
        name, state = self._names.add(_name(stage["name"])), self._names.add(_name(stage["state"]))
        values = (self._findings.digest(stage["expected"]), self._findings.digest(stage["actual"]))
        return self._stages.add((name, state, stage["pcrs"] or 0, *values))

    def _profiles_of(self, table: npt.NDArray[np.int64]) -> Codes:
        distinct, row_of = np.unique(table, axis=0, return_inverse=True)
        numbers = np.array([self._profiles.add(tuple(row)) for row in distinct.tolist()] + [0], np.int64)
        return numbers[row_of.reshape(-1)]

    def _details_of(self, batch: pa.RecordBatch, wanted: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
        """Numbers of the identifiers of rows, -1 for none.

        No two are alike, so they would be most of the page: boots that are as they should be go without.
        """
        numbers = np.full(len(batch), -1, np.int64)
        picked = np.flatnonzero(wanted)
        numbers[picked] = len(self._details) + np.arange(len(picked))
        digest = self._findings.digest
        pairs = (batch.column(name).take(pa.array(picked)).to_pylist() for name in ("evidence_id", "ak_name"))
        self._details += [(digest(evidence), digest(name)) for evidence, name in zip(*pairs, strict=True)]
        return numbers

    def packed(self, advice: Callable[[str], str | None]) -> dict[str, Any]:
        """What the page shows. ``advice`` says by code what to do next."""
        table = np.concatenate([*self._rows, np.zeros((len(_ROW), 0), np.int64)], axis=1)
        evidence = np.concatenate([*self._evidence, np.zeros((0, 2), np.uint64)])
        machine_rank, boot_rank = _ranks(self._machines.values), _ranks(self._boots.values)
        file_rank = np.argsort(np.argsort(np.array(self._as_of, np.int64), kind="stable"))
        keys = (boot_rank[table[1]], table[2], file_rank[table[3]], machine_rank[table[0]])
        order = np.lexsort(keys)
        boots, times, files, machines = (key[order] for key in keys)
        packed_rows = {
            "machine": machines.tolist(),
            "boot": boots.tolist(),
            "time": [None if time == _NO_TIME else time for time in times.tolist()],
            "file": files.tolist(),
            **{name: table[i][order].tolist() for i, name in enumerate(_ROW) if i >= _ROW.index("profile")},
            "superseded": _superseded(machines, boots, evidence[order], files).astype(np.int64).tolist(),
        }
        return {
            "verdicts": VERDICTS,
            "pcr_names": PCR_NAMES,
            "files": [self._files[i] for i in np.argsort(file_rank).tolist()],
            "machines": _sorted(self._machines.values, machine_rank),
            "boots": _sorted(self._boots.values, boot_rank),
            "names": self._names.values,
            "baselines": self._baselines.values,
            "proofs": self._proofs.values,
            "stages": self._stages.values,
            "stage_lists": self._stage_lists.values,
            "profiles": {name: [row[i] for row in self._profiles.values] for i, name in enumerate(_PROFILE)},
            "details": self._details,
            "rows": packed_rows,
            "reasons": _numbered(self._findings.reasons()),
            **_newest(machines, files, len(self._machines), len(self._files)),
            **self._findings.packed(advice),
        }


def _newest(machines: Codes, files: Codes, n_machines: int, n_files: int) -> dict[str, list[int]]:
    """For each machine its newest row, the one to compare it with (-1: none), and whether newer files lack it.

    Rows are in the order of machine, file, time. To compare with is what an older file said last, else the boot before.
    A file is newer than another only if they have a machine in common: two sites say nothing about each other.
    """
    starts = np.searchsorted(machines, np.arange(n_machines))
    newest = np.searchsorted(machines, np.arange(n_machines), side="right") - 1
    first_of_file = np.searchsorted(machines * n_files + files, np.arange(n_machines) * n_files + files[newest])
    before = np.where(first_of_file > starts, first_of_file, newest) - 1
    before[before < starts] = -1
    present = np.zeros((n_machines, n_files), np.bool_)
    present[machines, files] = True
    followed = np.array([present[present[:, f], f + 1 :].any() for f in range(n_files)], np.bool_)
    return {
        "newest": newest.tolist(),
        "before": before.tolist(),
        "gone": np.flatnonzero(followed[files[newest]]).tolist(),
    }


def _superseded(machines: Codes, boots: Codes, evidence: npt.NDArray[np.uint64], files: Codes) -> npt.NDArray[np.bool_]:
    """Rows whose evidence a later file gives another verdict on."""
    order = np.lexsort((files, evidence[:, 0], evidence[:, 1], boots, machines))
    keys = np.column_stack([machines, boots, evidence.view(np.int64)])[order]
    sorted_files = files[order]
    later = np.zeros(len(files), np.bool_)
    # Within equal evidence the last file stands; rows of one file stand beside each other.
    same_as_next = np.all(keys[1:] == keys[:-1], axis=1)
    group = np.concatenate([[0], np.cumsum(~same_as_next)]) if len(keys) else np.zeros(0, np.int64)
    last = np.zeros(int(group[-1]) + 1 if len(group) else 0, np.int64)
    np.maximum.at(last, group, sorted_files)
    later[order] = sorted_files < last[group]
    return later


def _without_own_name(baselines: pa.StructArray, machines: pa.Array) -> pa.StructArray:
    """Baselines whose id is null where it is the machine's name: then machines have few of them."""
    scope, name, version = baselines.flatten()
    own = pc.fill_null(pc.equal(name, machines), False)
    name = pc.if_else(own, pa.scalar(None, pa.string()), name)
    children = [pc.if_else(own, pa.scalar("own"), scope), name, version]
    return pa.StructArray.from_arrays(children, names=["scope", "id", "version"])


def _proof(proof: dict[str, Any]) -> tuple[str, int]:
    return _name(proof["bank"] or "?"), proof["mask"] or 0


def _name(text: str) -> str:
    return escape(text, _NAME)


def _seconds(times: pa.Array) -> npt.NDArray[np.int64]:
    micros: npt.NDArray[np.int64] = times.cast(pa.int64()).fill_null(_NO_TIME).to_numpy(zero_copy_only=False)
    return np.where(micros == _NO_TIME, _NO_TIME, micros // 1_000_000)


def _halves(ids: pa.Array) -> npt.NDArray[np.uint64]:
    """The first 16 bytes of each identifier as two numbers: uint64 of shape [n, 2]."""
    joined = b"".join((value or b"")[:16].ljust(16, b"\0") for value in ids.to_pylist())
    return np.frombuffer(joined, np.uint64).reshape(-1, 2)


_DIGITS: Final = re.compile(r"\d+")


def _ranks(names: list[str]) -> Codes:
    """The place of each name among all, numbers within them by value: boot-9 comes before boot-10."""
    keys = [(_DIGITS.sub(lambda digits: digits.group().lstrip("0").rjust(_NAME, "0"), name), name) for name in names]
    ranks = np.empty(len(names), np.int64)
    ranks[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names))
    return ranks


def _sorted(names: list[str], ranks: Codes) -> list[str]:
    return [names[i] for i in np.argsort(ranks).tolist()]


def _numbered(values: list[tuple[int, ...]]) -> list[int]:
    pool = Pool()
    return [pool.add(value) for value in values]
