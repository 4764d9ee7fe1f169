"""What one policy asks for beyond or below another, in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from pyverify.appraise.policy import KEY_LEVELS, WEAK_BANKS, Policy
from pyverify.appraise.policy_keys import duration
from pyverify.evidence.runtime_policy import RuntimePolicy

QUOTES: Final = ("no", "any", "fresh")
"""What is asked of quotes, weakest first."""

_QUOTE_WORDS: Final = {
    "no": "judges bare logs: nothing that it trusts is signed",
    "any": "takes a signed quote of any age",
    "fresh": "wants a signed quote over the newest challenge",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference: ``weaker`` is set where evidence may pass that the other policy would refuse."""

    weaker: bool
    rule: str
    words: str


def differences(policy: Policy, other: Policy) -> tuple[Difference, ...]:
    """Where ``policy`` asks for more or less than ``other``; none where they ask for the same."""
    found = (_of_evidence, _of_banks, _of_pcrs, _of_secure_boot, _of_ima)
    return tuple(difference for one in found for difference in one(policy, other))


def _of_evidence(policy: Policy, other: Policy) -> Iterator[Difference]:
    yield from _ranked("[evidence] quote", QUOTES, policy.quote, other.quote, _QUOTE_WORDS[policy.quote])
    if policy.quote != "no":
        words = f"takes keys that are {policy.key} or better"
        yield from _ranked("[evidence] key", KEY_LEVELS, policy.key, other.key, words)
    if policy.max_age is not None and other.max_age is not None and policy.max_age != other.max_age:
        longer = policy.max_age > other.max_age
        words = f"a quote is fresh for {duration(policy.max_age)} in place of {duration(other.max_age)}"
        yield Difference(longer, "[evidence] max_age", words)


def _ranked(rule: str, ranks: Sequence[str], mine: str, others: str, words: str) -> Iterator[Difference]:
    if mine != others:
        yield Difference(ranks.index(mine) < ranks.index(others), rule, words)


def _of_banks(policy: Policy, other: Policy) -> Iterator[Difference]:
    mine, others = set(policy.banks_allowed), set(other.banks_allowed)
    for bank in sorted(mine - others):
        why = ", whose collisions are for sale" if bank in WEAK_BANKS else ""
        yield Difference(True, "[banks] allowed", f"{bank} counts{why}")
    if gone := sorted(others - mine):
        # Required or not, a bank that does not count is not compared: a difference in it alone goes unseen.
        yield Difference(True, "[banks] allowed", f"{', '.join(gone)} is not looked at")
    if policy.banks_required != other.banks_required:
        if policy.banks_required is None:
            yield Difference(True, "[banks] required", "those of the baseline, in place of a list")
        else:
            listed = ", ".join(policy.banks_required)
            whole = set(other.banks_required or other.banks_allowed) <= set(policy.banks_required)
            words = f"{listed}, whatever the learning boot had" + ("" if whole else " beyond")
            yield Difference(not whole, "[banks] required", words)


def _of_pcrs(policy: Policy, other: Policy) -> Iterator[Difference]:
    compared, reported = set(policy.pcrs_compare), set(policy.pcrs_report)
    if more := compared - set(other.pcrs_compare):
        yield Difference(False, "[pcrs] compare", f"{_pcrs(more)} must equal the baseline too")
    less = set(other.pcrs_compare) - compared
    if told := less & reported:
        yield Difference(True, "[pcrs] compare", f"{_pcrs(told)} may differ, and is reported only")
    if ignored := less - reported:
        yield Difference(True, "[pcrs] compare", f"{_pcrs(ignored)} may differ, and nothing says so")
    if silent := set(other.pcrs_report) - compared - reported:
        yield Difference(True, "[pcrs] report", f"nothing says when {_pcrs(silent)} differs")
    if loud := reported - set(other.pcrs_report) - set(other.pcrs_compare):
        yield Difference(False, "[pcrs] report", f"{_pcrs(loud)} is reported too")


def _pcrs(pcrs: Iterable[int]) -> str:
    return f"PCR {', '.join(str(pcr) for pcr in sorted(pcrs))}"


def _of_secure_boot(policy: Policy, other: Policy) -> Iterator[Difference]:
    mine, others = policy.secure_boot, other.secure_boot
    yield from _switched("required", mine.required, others.required, "be proven to be on", weaker_if=False)
    old = None if others.minimum_dbx is None else others.minimum_dbx.entries
    new = None if mine.minimum_dbx is None else mine.minimum_dbx.entries
    if new != old:
        weaker = not (old or frozenset()) <= (new or frozenset())
        words = "no dbx is too old" if new is None else f"a dbx must have {len(new):,} entries"
        yield Difference(weaker, "[secure_boot] minimum_dbx", words)
    if mine.minimum_sbat != others.minimum_sbat:
        rows, before = dict(mine.minimum_sbat), dict(others.minimum_sbat)
        weaker = any(rows.get(name, 0) < generation for name, generation in before.items())
        wanted = " and ".join(f"{name},{generation}" for name, generation in rows.items())
        words = f"SbatLevel must be at {wanted} or later" if rows else "no SbatLevel is too old"
        yield Difference(weaker, "[secure_boot] minimum_sbat", words)
    allow, before_ = mine.allow, others.allow
    words = "be on with a dbx that revokes nothing"
    yield from _switched("allow_empty_dbx", allow.empty_dbx, before_.empty_dbx, words)
    words = "be on where devices had access to memory"
    yield from _switched("allow_dma_protection_off", allow.dma_protection_off, before_.dma_protection_off, words)


def _switched(rule: str, mine: bool, others: bool, words: str, *, weaker_if: bool = True) -> Iterator[Difference]:
    """A switch of Secure Boot: ``weaker_if`` is the value that lets more pass."""
    if mine != others:
        may = ("must", "need not") if weaker_if is False else ("may", "may not")
        yield Difference(mine is weaker_if, f"[secure_boot] {rule}", f"Secure Boot {may[0 if mine else 1]} {words}")


def _of_ima(policy: Policy, other: Policy) -> Iterator[Difference]:
    mine, others = policy.ima_runtime_policy, other.ima_runtime_policy
    words = "IMA lists are held against what was learned"
    if mine is not None:
        allowed, unjudged = len(mine.rules.allowed), len(mine.rules.excludes) + len(mine.rules.ignored_keyrings)
        words = f"IMA lists are held against {allowed:,} digests that are given, with {unjudged:,} exceptions"
    if policy.ima != other.ima:
        words = "IMA lists are not looked at" if policy.ima == "no" else words
        # What was learned and what is given each may have what the other has not.
        yield Difference(other.ima != "no", "[ima] judge", words)
    elif mine is not None and others is not None and mine != others:
        weaker = not _is_within(mine.rules, others.rules, names_too=policy.ima_added != "high")
        yield Difference(weaker, "[ima] runtime_policy", words)
    if "no" not in (policy.ima, other.ima):
        yield from _of_judged_ima(policy, other)


def _is_within(mine: RuntimePolicy, others: RuntimePolicy, *, names_too: bool) -> bool:
    """Whether a runtime policy lets nothing pass that the other does not.

    ``names_too`` is for where a name that is in neither is less bad than one with another digest.
    """
    names = {member.path for member in mine.allowed}, {member.path for member in others.allowed}
    return (
        set(mine.allowed) <= set(others.allowed)
        and set(mine.excludes) <= set(others.excludes)
        and mine.ignored_keyrings <= others.ignored_keyrings
        and (not names_too or names[0] == names[1])
    )


def _of_judged_ima(policy: Policy, other: Policy) -> Iterator[Difference]:
    words = f"a path that is not known is {policy.ima_added}"
    yield from _ranked("[ima] added", ("info", "warning", "high"), policy.ima_added, other.ima_added, words)
    ranks = ("warning", "as-learned", "high")
    words = {
        "warning": "violations are a warning, however many",
        "as-learned": "violations are high where there are more than when it was learned",
        "high": "any violation is high",
    }[policy.ima_violations]
    yield from _ranked("[ima] violations", ranks, policy.ima_violations, other.ima_violations, words)
    if policy.kexec != other.kexec:
        may = "may" if policy.kexec else "may not"
        yield Difference(policy.kexec, "[ima] kexec", f"a machine {may} start another kernel from the running one")
