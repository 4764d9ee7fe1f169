"""IMA lists judged: each by itself, and its entries by the set of its own machine's baseline or by the runtime policy
that the policy names, all by column.

Nothing of an entry counts but what its template digest covers. What was learned of a machine is matched by name, kind
and all bytes of the digest; entries that are missing or in another order are nothing against a boot (DESIGN section 6).
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pyverify import _native
from pyverify.appraise.finding_columns import FindingColumns
from pyverify.appraise.ima_lists import SentLists
from pyverify.appraise.ima_quoted import judge_quoted, quoted_banks
from pyverify.appraise.ima_told import ToldLists, of_pcr
from pyverify.appraise.policy import Policy
from pyverify.baseline.ima_columns import NO_SET, LearnedIma
from pyverify.baseline.references import References
from pyverify.evidence.ima import PCR, Flag, ImaColumns
from pyverify.evidence.ima_list import fault_words
from pyverify.evidence.ima_relabelled import relabelled
from pyverify.evidence.ima_replay import BootAggregate, ImaReplay, aggregates, boot_aggregate
from pyverify.evidence.ima_set import ADDED, CHANGED, OK
from pyverify.findings import Finding, Severity

Mask = npt.NDArray[np.bool_]

_ALWAYS_HASHED: Final = ("sha1", "sha256")
"""Banks that every kernel can make a boot_aggregate of (SPEC 7.5)."""


@dataclass(frozen=True, slots=True)
class ImaJudgement:
    """What the IMA lists of the rows of a batch come to, beside findings.

    ``judged`` are the rows that were held against a set, ``bad`` those that have anything high against their list: bool
    of shape [n]. ``entries`` is how many entries each list has, ``proven`` how many of them quotes prove: int64 of
    shape [n], both 0 where there is no list, or an empty one, and no finding says so; -1 where nothing can be said.
    """

    judged: Mask
    bad: Mask
    entries: npt.NDArray[np.int64]
    proven: npt.NDArray[np.int64]

    @classmethod
    def nothing(cls, n: int) -> Self:
        """Of lists that were not looked at."""
        return cls(np.zeros(n, np.bool_), np.zeros(n, np.bool_), np.full(n, -1, np.int64), np.full(n, -1, np.int64))


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is known of some rows beside their lists: see :func:`judge_ima`."""

    set_of: npt.NDArray[np.uint32]
    cohort_set: npt.NDArray[np.uint32]
    violations: npt.NDArray[np.int64]  # of the learning boot; -1 without a baseline
    values: Mapping[str, npt.NDArray[np.uint8]]
    usable: Mapping[str, Mask]
    quoted: Mapping[str, npt.NDArray[np.uint32]]
    authentic: Mapping[str, npt.NDArray[np.uint8]]

    def of(self, rows: npt.NDArray[np.int64]) -> Self:
        """Those of these rows."""
        return type(self)(
            self.set_of[rows],
            self.cohort_set[rows],
            self.violations[rows],
            {bank: values[rows] for bank, values in self.values.items()},
            {bank: usable[rows] for bank, usable in self.usable.items()},
            {bank: masks[rows] for bank, masks in self.quoted.items()},
            {bank: values[rows] for bank, values in self.authentic.items()},
        )


def judge_ima(
    batch: pa.RecordBatch,
    *,
    references: References,
    baseline: npt.NDArray[np.int64],
    of_cohort: npt.NDArray[np.int64],
    judged: Mask,
    as_of: datetime.datetime,
    values: Mapping[str, npt.NDArray[np.uint8]],
    usable: Mapping[str, Mask],
    quoted: Mapping[str, npt.NDArray[np.uint32]],
    authentic: Mapping[str, npt.NDArray[np.uint8]],
    policy: Policy,
    findings: FindingColumns,
) -> ImaJudgement:
    """Judges the IMA list of each row of a batch; memory is bounded by a tile of lists and the largest one.

    Args:
        batch: the rows, conformed.
        references: what was learned.
        baseline: the row in the references that each is held against, int64 of shape [n], -1 for none: then a list is
            judged by itself.
        of_cohort: the row of the active baseline of each machine's cohort, -1 for none.
        judged: the rows to look at, bool of shape [n].
        as_of: the time of the verdicts: what was replaced is allowed for a while.
        values: by bank the PCR values that the event logs lead to, uint8 of shape [n, 24, size].
        usable: by bank the rows that have such values, bool of shape [n].
        quoted: by bank the PCRs of each row that quotes prove, a bit each, uint32 of shape [n]. Empty where quotes are
            not judged: then no entry is proven, and none is expected to be.
        authentic: by bank the values that quotes prove, uint8 of shape [n, 24, size].
        policy: what must hold.
        findings: those of the batch.
    """
    n = len(batch)
    result = ImaJudgement.nothing(n)
    if policy.ima == "no":
        return result
    known = judged & (baseline >= 0)
    learned, set_of_baseline = references.ima_at(as_of)
    set_of, violations = np.full(n, NO_SET, np.uint32), np.full(n, -1, np.int64)
    set_of[known] = set_of_baseline[baseline[known]]
    violations[known] = references.ima_violations[baseline[known]]
    cohort_set = np.full(n, NO_SET, np.uint32)
    cohort_set[of_cohort >= 0] = set_of_baseline[of_cohort[of_cohort >= 0]]
    facts = _Facts(set_of, cohort_set, violations, values, usable, quoted, authentic)
    empty = judged.copy()
    for rows, columns in SentLists.of(batch).tiles(judged):
        replayed = ImaReplay(columns)
        told = ToldLists(replayed, rows, findings, result.bad)
        result.proven[rows] = _Lists(replayed, facts.of(rows), policy, told).judge(learned)
        good, count = columns.rows["fault"] == 0, columns.rows["n_entries"].astype(np.int64)
        result.entries[rows] = np.where(good, count, -1)
        empty[rows] = good & (count == 0)
    by_policy = policy.ima_runtime_policy is not None
    result.judged[:] = judged if by_policy else set_of != NO_SET
    wanted = "there is a runtime policy for it" if by_policy else "the learning boot had one"
    _judge_empty(empty, wanted, facts, findings, result)
    for counts in (result.entries, result.proven):
        counts[empty] = np.where(result.bad[empty], -1, 0)
    return result


def _judge_empty(empty: Mask, wanted: str, facts: _Facts, findings: FindingColumns, result: ImaJudgement) -> None:
    """Rows without a list, or with one of no entries; ``wanted`` is why there should be one."""
    lost = empty & result.judged
    words = f"no IMA list, or one without entries; {wanted}"
    findings.add_to_all(np.flatnonzero(lost), of_pcr("ima.empty", Severity.HIGH, words))
    extended = np.zeros(len(empty), np.bool_)
    for bank, rows in quoted_banks(facts.quoted, PCR).items():
        extended |= empty & rows & facts.authentic[bank][:, PCR].any(axis=1)
    words = "PCR 10 was extended, and there is no IMA list that says with what"
    findings.add_to_all(np.flatnonzero(extended), of_pcr("replay.unexplained", Severity.HIGH, words))
    result.bad[lost | extended] = True


class _Lists:
    """The lists of one tile, reason by reason. Of a list with a fault nothing but that is told."""

    def __init__(self, replayed: ImaReplay, facts: _Facts, policy: Policy, told: ToldLists) -> None:
        self._replayed, self._facts, self._policy, self._told = replayed, facts, policy, told
        self._columns: ImaColumns = replayed.columns
        self._good: Mask = self._columns.rows["fault"] == 0
        self._flags = self._columns.entries["flags"]
        violation = self._flags & Flag.VIOLATION != 0
        self._proper: Mask = self._good[self._columns.list_of] & ~violation

    def judge(self, learned: LearnedIma) -> npt.NDArray[np.int64]:
        """All findings, in the order in which they read best; how many entries of each list quotes prove, or -1."""
        self._faults()
        self._boot_aggregate()
        high = Severity.HIGH
        self._told.entries(
            self._proper & self._replayed.mismatches(), "ima.template-mismatch", high, "{path}: not what was measured"
        )
        words = "{path}: under a template that such an entry does not have"
        self._told.entries(self._proper & relabelled(self._columns), "ima.relabelled", high, words)
        proven = np.full(len(self._columns), -1, np.int64)
        if self._facts.quoted:
            proven = judge_quoted(self._replayed, self._facts.quoted, self._facts.authentic, self._told)
        self._kexec()
        self._violations()
        self._weak_hashes()
        self._members(learned)
        return proven

    def _faults(self) -> None:
        rows = self._columns.rows
        for index in np.flatnonzero(~self._good).tolist():
            code = _native.ima_fault_code(int(rows["fault"][index]))
            words = fault_words(str(code), int(rows["fault_at"][index]), int(rows["n_entries"][index]))
            self._told.one(index, Finding(str(code), Severity.HIGH, words, event=int(rows["n_entries"][index])))

    def _boot_aggregate(self) -> None:
        there = self._good & (self._columns.rows["n_entries"] > 0)
        found = boot_aggregate(self._columns, self._facts.values, given=self._facts.usable)
        reasons = (
            (found == BootAggregate.ABSENT, Severity.HIGH, "the list does not begin with boot_aggregate"),
            (
                found == BootAggregate.MISMATCH,
                Severity.HIGH,
                "boot_aggregate is not the hash of the PCRs that the event log leads to: list and log are of two boots",
            ),
            (
                (found == BootAggregate.ZEROS) & self._can_hash(),
                Severity.HIGH,
                "boot_aggregate is zeros, though the TPM has a bank that the kernel makes it of",
            ),
            (
                (found == BootAggregate.ZEROS) & ~self._can_hash(),
                Severity.INFO,
                "boot_aggregate is zeros: the TPM has no bank that the kernel makes it of",
            ),
        )
        for lists, severity, words in reasons:
            self._told.all_of(there & lists, of_pcr("ima.boot-aggregate", severity, words, event=0))

    def _can_hash(self) -> Mask:
        """Lists whose kernel had a bank to make a boot_aggregate of: one that every kernel has, or that of its hash."""
        columns, usable = self._columns, self._facts.usable
        own = np.full(len(columns), _native.IMA_NO_ALGORITHM, np.uint32)
        some = columns.rows["n_entries"] > 0
        own[some] = columns.entries["algorithm"][columns.rows["first_entry"][some].astype(np.int64)]
        can = np.zeros(len(columns), np.bool_)
        for bank, rows in usable.items():
            can |= rows & ((bank in _ALWAYS_HASHED) | (own == _native.ima_algorithm(bank)))
        return can

    def _kexec(self) -> None:
        words = "{path}: another kernel was started from the running one"
        severity = Severity.INFO if self._policy.kexec else Severity.HIGH
        self._told.entries(self._proper & (self._flags & Flag.KEXEC != 0), "ima.kexec", severity, words)

    def _violations(self) -> None:
        numbers = [self._columns.rows["n_violations"] * self._good, self._facts.violations]
        rule = self._policy.ima_violations
        self._told.counted(np.stack(numbers, axis=1).astype(np.int64), lambda counts: _violations(counts, rule))

    def _weak_hashes(self) -> None:
        weak = Flag.WEAK_HASH | Flag.DIGEST_LENGTH | Flag.UNKNOWN_ALGORITHM
        entries = self._proper & (self._flags & weak != 0)
        counts = np.bincount(self._columns.list_of[entries], minlength=len(self._columns))
        self._told.counted(
            counts.astype(np.int64)[:, None],
            lambda n: of_pcr(
                "ima.weak-hash",
                Severity.WARNING,
                f"{n[0]} digests of files are by MD5, SHA-1 or an unknown hash, or of a wrong length",
            ),
        )

    def _members(self, learned: LearnedIma) -> None:
        """Entries against the runtime policy, where there is one, or else the sets of their machines."""
        given = self._policy.ima_runtime_policy
        if given is not None:
            outcomes = given.rules.check(self._columns)
            self._outcomes(outcomes, "not as the runtime policy has it", "not in the runtime policy")
        elif np.any(self._facts.set_of != NO_SET):
            outcomes, members = learned.check(self._columns, self._facts.set_of)
            outcomes = self._approved_for_cohort(learned, outcomes)
            words = "not the contents that were learned", "was not learned"
            self._outcomes(outcomes, *words, expected=lambda which: learned.digests(members[which]))

    def _outcomes(
        self,
        outcomes: npt.NDArray[np.uint8],
        changed: str,
        added: str,
        expected: Callable[[npt.NDArray[np.int64]], list[bytes]] | None = None,
    ) -> None:
        judged = self._proper & ~self._is_of_kexec()
        self._told.entries(
            judged & (outcomes == CHANGED), "ima.changed", Severity.HIGH, f"{{path}}: {changed}", expected
        )
        severity = Severity(self._policy.ima_added)
        words = f"{{path}}: {added}" + ("" if severity is Severity.HIGH else " ([ima] added)")
        self._told.entries(judged & (outcomes == ADDED), "ima.added", severity, words)

    def _approved_for_cohort(self, learned: LearnedIma, outcomes: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """New names that are approved in the machine's cohort, with their digest, are only told of."""
        added = outcomes == ADDED
        if not added.any() or np.all(self._facts.cohort_set == NO_SET):
            return outcomes
        approved = added & (learned.check(self._columns, self._facts.cohort_set)[0] == OK)
        judged = self._proper & ~self._is_of_kexec() & approved
        self._told.entries(judged, "ima.added", Severity.INFO, "{path}: was not learned, but is approved in the cohort")
        return np.where(approved, OK, outcomes)

    def _is_of_kexec(self) -> Mask:
        """Entries that a kexec leaves behind: told of as such, and in no set. A file may only be called like one."""
        of_kexec: Mask = self._flags & Flag.KEXEC != 0
        if self._policy.kexec:
            of_kexec &= (self._flags & Flag.BUFFER != 0) | self._is_aggregate(of_kexec)
        return of_kexec

    def _is_aggregate(self, of_kexec: Mask) -> Mask:
        """Of these entries those that are called boot_aggregate and are one: of the PCRs when IMA started, or of those
        that are quoted. The kernel calls a file so, too, whose path it cannot tell."""
        columns, facts = self._columns, self._facts
        found = np.zeros(len(of_kexec), np.bool_)
        which = np.flatnonzero(of_kexec & (self._flags & Flag.BOOT_AGGREGATE != 0))
        for outcomes in (
            aggregates(columns, which, facts.values, given=facts.usable),
            aggregates(columns, which, facts.authentic),
        ):
            found[which] |= np.isin(outcomes, (BootAggregate.PCRS_0_7, BootAggregate.PCRS_0_9, BootAggregate.ZEROS))
        return found


def in_sets(columns: ImaColumns) -> Mask:
    """Entries that may be in a set, bool of shape [m]: not what a kexec leaves behind, which is judged as such.

    :meth:`pyverify.evidence.ima_set.ImaSet.of` leaves out violations and boot_aggregate itself.
    """
    fit: Mask = columns.entries["flags"] & Flag.KEXEC == 0
    return fit


def _violations(numbers: list[int], rule: str) -> Finding:
    """``rule`` is the policy's: a severity, or ``as-learned``."""
    found, learned = numbers
    words = f"{found} violations: files that were written while they were read, so that nothing says what they were"
    if rule != "as-learned":
        return of_pcr("ima.violation", Severity(rule), f"{words} ([ima] violations)")
    if learned < 0:
        return of_pcr("ima.violation", Severity.WARNING, words)
    severity = Severity.HIGH if found > learned else Severity.WARNING
    return of_pcr("ima.violation", severity, f"{words}; the learning boot had {learned}")
