"""Cohorts of an archive: which machines boot alike, found without any baseline.

Replayed PCR values sort the boots first, by column. One log of each distinct combination is put by, and only these are
put into their normal form, so the cost grows with how many kinds of boot there are and not with how many machines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa

from pyverify.algorithms import TO_SHOW
from pyverify.baseline.cohorts import NormalBoot
from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import Finding, Severity
from pyverify.fleet.boot_order import boot_keys, chosen_boots
from pyverify.fleet.boot_variants import LeftOut, Variants, look_at
from pyverify.fleet.job import BATCH_BYTES, BATCH_ROWS, default_jobs, ordered_map
from pyverify.fleet.sources import Source

_ID_SIZE: Final = 8
"""Bytes of a key in a cohort's id: among a million cohorts two have one id by chance once in 37 million archives."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Machines that boot alike."""

    id: str
    """16 hexadecimal digits: the same for the same kind of machines in every archive, read in any order."""
    bank: str
    """The bank whose digests tell them from others."""
    machines: tuple[str, ...]
    """Their names, sorted."""
    variants: int
    """Distinct combinations of PCR values among them: the same but for what the rules leave out."""
    example: int
    """Number of the variant that most of them have, for :meth:`Cohorts.boots`."""


class Cohorts:
    """What :func:`group` found. It holds the distinct logs open until it is closed; use it as a context manager."""

    def __init__(
        self,
        cohorts: tuple[Cohort, ...],
        left_out: tuple[LeftOut, ...],
        variant_of: dict[str, int],
        cohort_of: list[Cohort],
        logs: Variants,
    ) -> None:
        self.cohorts = cohorts
        """Those of the fewest machines first, among equals by id."""
        self.left_out = left_out
        """Boots that are in none, by machine."""
        self._variant_of = variant_of
        self._cohort_of = cohort_of
        self._logs = logs

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._logs.close()

    @property
    def n_machines(self) -> int:
        """Machines that are in a cohort."""
        return len(self._variant_of)

    @property
    def n_variants(self) -> int:
        """Distinct combinations of PCR values, of which each was normalised once."""
        return len(self._cohort_of)

    def variant(self, machine: str) -> int:
        """The number of a machine's variant, for :meth:`boot`.

        Raises:
            UsageError: it is in no cohort.
        """
        if machine not in self._variant_of:
            reasons = [item.reason for item in self.left_out if item.machine == machine]
            why = f"is in no cohort: {reasons[0].code} {reasons[0].hint}" if reasons else "is not in this archive"
            raise UsageError(f"machine {escape(machine)} {why}")
        return self._variant_of[machine]

    def cohort(self, machine: str) -> Cohort:
        """The cohort of a machine.

        Raises:
            UsageError: it is in none.
        """
        return self._cohort_of[self.variant(machine)]

    def boot(self, variant: int) -> NormalBoot:
        """The boot of a variant, in its normal form."""
        return next(self.boots([variant]))

    def boots(self, variants: list[int]) -> Iterator[NormalBoot]:
        """The boots of some variants, in their normal form; faster than one by one."""
        return self._logs.boots(variants)


def group(source: Source, *, jobs: int | None = None, watch: Callable[[int], None] = lambda machines: None) -> Cohorts:
    """The cohorts of an archive, by the newest boot of each machine (boot_seq, then collected_at, then name).

    Boots are compared in one bank: in the first of ``algorithms.TO_SHOW`` that has a digest in every event of their
    log. Those that lack a bank that others have join these where exactly one cohort has, in the best bank that they
    do have, the same events.

    Nothing is proven by it: logs are taken at their word, as if no quote were there.

    Args:
        source: the archive; it is read twice, the first time for its names only.
        jobs: threads (default: the processors there are).
        watch: is called with the number of machines that have been looked at.

    Raises:
        ArchiveError: the archive breaks as a container.
    """
    wanted = chosen_boots(source, newest=True)
    variants, left_out = Variants(), []
    variant_of: dict[str, int] = {}

    def newest() -> Iterator[pa.RecordBatch]:
        for batch in source.batches(max_rows=BATCH_ROWS, max_bytes=BATCH_BYTES):
            rows = []
            for row, item in enumerate(boot_keys(batch)):
                if item is None:
                    rows.append(row)  # to be told of, not to be counted as a machine
                elif wanted.get(item[0]) == item[1]:
                    del wanted[item[0]]  # of several samples of a boot the first counts
                    rows.append(row)
            if rows:
                yield batch if len(rows) == len(batch) else batch.take(pa.array(rows))

    try:
        for looked_at in ordered_map(look_at, newest(), jobs or default_jobs()):
            left_out += looked_at.left_out
            for row, number in variants.add(looked_at):
                variant_of[looked_at.machines[row]] = number
            watch(len(variant_of) + len(left_out))
        gone = Finding("evidence.unreadable", Severity.HIGH, "the archive changed while it was read: this boot is gone")
        left_out += [LeftOut(machine, key[2], gone) for machine, key in wanted.items()]
        return _cohorts(variants, variant_of, left_out)
    except BaseException:
        variants.close()
        raise


_Key = tuple[str, bytes]
"""A bank and the key of a boot in it."""


def _cohorts(variants: Variants, variant_of: dict[str, int], left_out: list[LeftOut]) -> Cohorts:
    keys = [[(bank, boot.key(bank)) for bank in boot.banks] for boot in variants.boots(list(range(len(variants))))]
    founders = _joined(keys)
    of_founder: defaultdict[_Key, list[int]] = defaultdict(list)
    for number, founder in enumerate(founders):
        of_founder[founder].append(number)
    machines: defaultdict[_Key, list[str]] = defaultdict(list)
    for machine, number in variant_of.items():
        machines[founders[number]].append(machine)
    found = {
        founder: Cohort(
            id=founder[1][:_ID_SIZE].hex(),
            bank=founder[0],
            machines=tuple(sorted(machines[founder])),
            variants=len(numbers),
            example=min(numbers, key=lambda number: (-variants.machines[number], variants.digest(number))),
        )
        for founder, numbers in of_founder.items()
    }
    return Cohorts(
        tuple(sorted(found.values(), key=lambda cohort: (len(cohort.machines), cohort.id))),
        tuple(sorted(left_out, key=lambda item: (item.machine or "", item.boot or "", item.reason.code))),
        variant_of,
        [found[founder] for founder in founders],
        variants,
    )


def _joined(keys: list[list[_Key]]) -> list[_Key]:
    """For each variant the key by which its cohort is known; ``keys`` are those of its banks, the best first.

    A variant is of the cohort of its best bank's key. Where no variant with a better bank has that key, it founds the
    cohort; where those that have it are of several cohorts, which honest logs are not, it founds its own.
    """
    founders: dict[_Key, _Key] = {}  # by key of a best bank
    known: defaultdict[_Key, set[_Key]] = defaultdict(set)  # by any key the founders of those that have it
    for bank in TO_SHOW:
        of_bank = [own for own in keys if own[0][0] == bank]
        for own in of_bank:
            others = known.get(own[0], set())
            founders[own[0]] = next(iter(others)) if len(others) == 1 else own[0]
        for own in of_bank:
            for key in own:
                known[key].add(founders[own[0]])
    return [founders[own[0]] for own in keys]
