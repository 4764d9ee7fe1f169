"""What formats that do not know our baselines have in common: allowed sequences in, a baseline out, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pyverify import _native
from pyverify.algorithms import BY_NAME, PCRS
from pyverify.baseline.model import ALL_ONES, Allowed, Baseline, EventSequence, Origin, State
from pyverify.errors import UsageError
from pyverify.evidence.columns import NAME_PATTERN
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape

SCOPES: Final = ("machine", "cohort")
MAX_VALUES: Final = 64
"""Values, or sequences of events, that a file may allow one PCR: a fleet's kernels and firmware are some ten."""
BOOT: Final = "imported"
"""``Baseline.boot`` of what no boot was learned from."""

_NAME: Final = re.compile(NAME_PATTERN)
_DRTM: Final = range(17, 23)


@dataclass(frozen=True, slots=True)
class Imported:
    """A baseline that a file of another form was read as: pending, of origin ``imported``.

    ``without`` are the PCRs that the file says nothing of. Nothing is allowed for them, so that they differ wherever a
    policy compares them: whoever wants them out of it says so in the policy.
    """

    baseline: Baseline
    without: tuple[int, ...]


def check_identity(scope: str, name: str) -> None:
    """Whether a baseline may be keyed so.

    Raises:
        UsageError: no such scope, or a name outside the alphabet of machines.
    """
    if scope not in SCOPES:
        raise UsageError(f"scope “{escape(scope)}” is not one of {', '.join(SCOPES)}")
    if not _NAME.fullmatch(name):
        raise UsageError(f"“{escape(name, 140)}” cannot be the name of a {scope}: 1 to 128 of A-Z a-z 0-9 . _ -")


def imported(
    allowed: Mapping[int, Sequence[EventSequence]], banks: Sequence[str], *, scope: str, name: str, source: bytes
) -> Imported:
    """The baseline that allows each PCR these sequences, known in these banks.

    ``source`` is the SHA-256 of what was read, kept as the evidence that the baseline is from.

    Raises:
        UsageError: a name that cannot be, or nothing allowed at all.
    """
    check_identity(scope, name)
    if not any(allowed.values()):
        raise UsageError("nothing in it says what a PCR may hold")
    baseline = Baseline(
        scope=scope,
        id=name,
        version=1,
        state=State.PENDING,
        allowed=tuple(tuple(Allowed(sequence) for sequence in allowed.get(pcr, ())) for pcr in range(PCRS)),
        log_banks=tuple(banks),
        quoted_banks=tuple(banks),
        boot=BOOT,
        evidence_id=source,
        origin=Origin.IMPORTED,
    )
    return Imported(baseline, tuple(pcr for pcr in range(PCRS) if not allowed.get(pcr)))


def of_values(values: Mapping[int, Iterable[bytes]], bank: str) -> dict[int, list[EventSequence]]:
    """Sequences of PCRs of which only values in one bank are known."""
    return {
        pcr: [EventSequence(0, (), (), {}, (), {bank: value}) for value in dict.fromkeys(of_pcr)]
        for pcr, of_pcr in values.items()
    }


def reset_start(pcr: int) -> int:
    """``EventSequence.start`` of a PCR of a boot from locality 0 without a D-RTM launch."""
    return ALL_ONES if pcr in _DRTM else 0


def current(baseline: Baseline, pcr: int) -> list[EventSequence]:
    """What a PCR may hold now, superseded sequences left out.

    Raises:
        UsageError: nothing, or what no list of values or of events can say.
    """
    sequences = [one.sequence for one in baseline.allowed[pcr] if one.until is None]
    where = f"{baseline.scope} {baseline.id}: {pcr_name(pcr)}"
    if not sequences:
        raise UsageError(f"{where} has no allowed value; a file without it would not check it, so leave it out by name")
    if any(sequence.varies for sequence in sequences):
        raise UsageError(f"{where} has events that may have any digest, which this format cannot say; leave it out")
    return sequences


def value_of(sequence: EventSequence, bank: str) -> bytes | None:
    """The value that a sequence leads to in a bank, None where that is not known."""
    if bank not in sequence.digests:
        return sequence.values.get(bank)
    algorithm = BY_NAME[bank]
    value = np.zeros((1, algorithm.size), np.uint8)
    if sequence.start == ALL_ONES:
        value[:] = ALL_ONES
    value[0, -1] = sequence.start
    chain = np.frombuffer(sequence.digests[bank], np.uint8).reshape(-1, algorithm.size)
    _native.extend(algorithm.index, chain, np.array([0, len(chain)], np.uint64), value)
    return value.tobytes()


def current_values(baseline: Baseline, pcr: int, bank: str) -> list[bytes]:
    """The values that a PCR may hold now in a bank, each once.

    Raises:
        UsageError: as :func:`current`, or one of the sequences has no value in this bank.
    """
    check_bank(baseline, bank)
    values = [value_of(sequence, bank) for sequence in current(baseline, pcr)]
    known = [value for value in values if value is not None]
    if len(known) < len(values):
        raise UsageError(f"{baseline.scope} {baseline.id}: {pcr_name(pcr)} is not known in bank {bank}")
    return list(dict.fromkeys(known))


def check_bank(baseline: Baseline, bank: str) -> None:
    """Whether a baseline knows a bank: PCRs that are not extended have values in any, whatever the machine has.

    Raises:
        UsageError: it does not.
    """
    if bank not in baseline.log_banks:
        raise UsageError(f"{baseline.scope} {baseline.id} has no bank {bank}; it has {', '.join(baseline.log_banks)}")


def chosen_pcrs(pcrs: Iterable[int]) -> list[int]:
    """PCRs that a caller asks for, each once, in order.

    Raises:
        UsageError: none, or one that no bank has.
    """
    chosen = sorted(set(pcrs))
    if not chosen or not set(chosen) <= set(range(PCRS)):
        raise UsageError(f"PCRs {', '.join(map(str, chosen)) or '(none)'}: allowed are some of 0 to {PCRS - 1}")
    return chosen


def chosen_bank(bank: str) -> str:
    """A bank that a caller names.

    Raises:
        UsageError: there is none of this name.
    """
    if bank not in BY_NAME:
        raise UsageError(f"unknown bank “{escape(bank)}”; there is {', '.join(BY_NAME)}")
    return bank
