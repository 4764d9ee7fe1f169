"""How scenarios of the catalogue are written, found by their numbers, and held against what the table asks for.

A scenario yields what honest evidence got, each in :func:`passes`, and what the attacks got: verdicts, verdict rows, or
the error that refused them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from attested_machine import DEFAULT, LOG_ONLY, NOW, Machine, Rows, rows_of, stands
from tpm_in_python import Tpm

from pyverify import Evidence, Policy, PyverifyError, References, Verdict
from pyverify.fleet.job import Summary, run
from pyverify.fleet.sources import Source, open_source

Scenario = Callable[..., Iterator["Answer | Passed"]]
Answer = Verdict | dict | PyverifyError

SCENARIOS: dict[int, list[Scenario]] = {}


def entry(number: int) -> Callable[[Scenario], Scenario]:
    """Makes a function the scenario of this entry."""

    def keep(function: Scenario) -> Scenario:
        SCENARIOS.setdefault(number, []).append(function)
        return function

    return keep


@dataclass(frozen=True)
class Passed:
    """What honest evidence got."""

    answer: Answer


def passes(answer: Answer) -> Passed:
    """Marks the answer of honest evidence."""
    return Passed(answer)


@dataclass(frozen=True)
class Required:
    """One clause of the table: words of verdicts and codes; of those with a stroke between them any will do."""

    words: frozenset[str]
    codes: tuple[frozenset[str], ...]

    @classmethod
    def clauses(cls, text: str) -> list[Required]:
        parts = [clause.split() for clause in text.split(";")]
        return [
            cls(frozenset(word.split("|")), tuple(frozenset(c.split("|")) for c in codes)) for word, *codes in parts
        ]

    def met_by(self, word: str, codes: set[str]) -> bool:
        return word in self.words and all(some & codes for some in self.codes)


def said(answer: Answer) -> tuple[str, set[str]]:
    """Word and codes of an answer; an error is ``refused``, for the code that it begins with, or its class."""
    if isinstance(answer, PyverifyError):
        code = re.match(r"[a-z-]+\.[a-z-]+(?=:|\b)", str(answer))
        return "refused", {type(answer).__name__, *([code[0]] if code else [])}
    if isinstance(answer, Verdict):
        final = stands(answer)
        return final.outcome.value, {finding.code for finding in final.findings}
    return answer["verdict"], {finding["code"] for finding in answer["findings"]}


def judged(
    machine: Machine,
    *attacks: Evidence,
    policy: Policy = DEFAULT,
    references: References | None = None,
    honest: Sequence[Evidence] = (),
) -> Iterator[Answer | Passed]:
    """Attacks in one batch with honest evidence before and behind them."""
    sound = list(honest) or [machine.evidence()]
    known = machine.references() if references is None else references
    rows = rows_of([*sound, *attacks, *sound], known, policy)
    n = len(sound)
    yield from map(passes, rows[:n] + rows[-n:])
    yield from rows[n:-n]


def booted(machine: Machine, log: bytes, **changes) -> Evidence:
    """What the machine sends after it has booted what another log says: its TPM agrees with that log."""
    tpm = Tpm.booted(log, owner=machine.name)
    return machine.evidence(tpm.quote(machine.selection, machine.nonce, machine.key), event_log=log, **changes)


def refused(call: Callable[[], object]) -> PyverifyError:
    """The error of a call that has to end in one."""
    try:
        call()
    except PyverifyError as error:
        return error
    raise AssertionError("nothing was refused")


def of_archive(path: Path, *machines: Machine) -> list[dict]:
    """Verdict rows of an archive of bare logs and lists, by machines that are known."""
    return _rows_of_job(open_source(path), References.of([machine.baseline() for machine in machines]), LOG_ONLY)


def of_job(evidence: Sequence[Evidence], known: References, policy: Policy) -> list[dict]:
    """Verdict rows of a job, which holds its rows against each other."""
    return _rows_of_job(Rows(evidence), known, policy)


def _rows_of_job(source: Source, known: References, policy: Policy) -> list[dict]:
    summary = Summary(policy.name, b"", NOW)
    batches = run(source, references=known, policy=policy, as_of=NOW, jobs=1, summary=summary)
    return [row for batch in batches for row in batch.to_pylist()]
