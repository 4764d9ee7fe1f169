"""Policies: which parts of the evidence must hold. The caller names one; evidence never chooses it."""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pyverify.algorithms import BY_NAME, PCRS, pcr_mask
from pyverify.appraise.ima_rules import NamedRuntimePolicy
from pyverify.appraise.policy_file import place, read_policy, read_preset
from pyverify.appraise.policy_keys import as_toml, canonical_id
from pyverify.appraise.secure_boot_rules import SecureBootRules
from pyverify.errors import UsageError

KEY_LEVELS: Final = ("none", "first-use", "enrolled", "activated", "certified")
"""How well a key is founded, weakest first (DESIGN section 1)."""

WEAK_BANKS: Final = ("sha1",)
"""Banks whose collisions are for sale: alone they are ``bank.weak``."""

PRESETS: Final = ("default", "archive", "log-only")

IMA_PCR: Final = 10
SECURE_BOOT_PCR: Final = 7
AFTER_BOOT: Final = range(15, PCRS)

_NO_LIMIT: Final = datetime.timedelta(days=365_000)


Refuse = Callable[[Any, Any], Iterable[tuple[int, str]]]
"""Evidence and verdicts of a batch (Arrow record batches) to the rows that are refused, each with a reason."""

_RULE_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in Python."""

    name: str
    function: Refuse


@dataclass(frozen=True)
class Policy:
    """What a verification requires. Make one with :meth:`preset` or :meth:`read` (DESIGN section 11).

    Attributes:
        name: what verdicts call it.
        quote: ``fresh`` wants a signed quote over the newest challenge, ``any`` a signed quote, ``no`` judges bare logs
            and looks at no quote.
        key: the weakest of :data:`KEY_LEVELS` that the quote's key may have.
        max_age: from a challenge's issue to the time of the verdict; None where freshness is not asked for.
        banks_allowed: the banks whose digests count.
        banks_required: the banks that a log, or a quote where there is to be one, must have; None: those that the
            baseline was learned in.
        pcrs_compare: must equal the baseline.
        pcrs_report: are told of when they differ.
        secure_boot: what is asked of Secure Boot.
        ima: ``baseline`` judges IMA lists by the set that was learned, ``runtime-policy`` by a list that somebody else
            keeps, ``no`` does not look at them.
        ima_runtime_policy: that list, where one is judged by.
        ima_added: severity of a path that was not learned, or that the runtime policy does not have.
        ima_violations: severity of entries that the kernel calls violations; ``as-learned``: a warning while there are
            no more than the learning boots had, else high.
        kexec: whether a machine may have started another kernel from the running one.
        rules: the caller's own, beside those of the text: see :meth:`with_rule`.

    Raises:
        UsageError: the rules contradict each other, or ask for what cannot be judged.
    """

    name: str
    quote: Literal["fresh", "any", "no"]
    key: str
    max_age: datetime.timedelta | None
    banks_allowed: tuple[str, ...]
    banks_required: tuple[str, ...] | None
    pcrs_compare: tuple[int, ...]
    pcrs_report: tuple[int, ...]
    secure_boot: SecureBootRules
    ima: Literal["baseline", "runtime-policy", "no"]
    ima_runtime_policy: NamedRuntimePolicy | None
    ima_added: Literal["high", "warning", "info"]
    ima_violations: Literal["as-learned", "high", "warning"]
    kexec: bool
    rules: tuple[Rule, ...] = ()

    def __post_init__(self) -> None:
        for words in self._contradictions():
            raise UsageError(words)

    @classmethod
    def preset(cls, name: str) -> Self:
        """The preset of this name.

        ``default`` wants a fresh quote by an enrolled key, ``archive`` the same without freshness; ``log-only`` judges
        bare logs: nothing in it is signed, so its verdicts say ``attested: log``.

        Raises:
            UsageError: no preset is called so.
        """
        if name not in PRESETS:
            there = f"there is {', '.join(PRESETS)}; a file is named with a / or with .toml at its end"
            raise UsageError(f"unknown policy {name!r}; {there}")
        return cls(**read_preset(name))

    @classmethod
    def read(cls, source: str | Path) -> Self:
        """A policy from TOML: its text where ``source`` is a str, a file where it is a Path.

        What the text leaves out is as in ``default``, so nothing that is missing makes it weaker. A file may name
        others, relative to its own folder; they are read once, here. A text may name none.

        Raises:
            UsageError: it is no TOML, has an unknown key, a value that is not allowed or rules that contradict each
                other, or a file cannot be read. The message names the file, the line or key, and what is allowed.
        """
        try:
            policy = cls(**read_policy(source))
            if policy.name in PRESETS and policy.id != cls.preset(policy.name).id:
                words = "that is a preset, which says otherwise; take another"
                raise UsageError(f"[policy] name = {policy.name!r}: {words}")
        except UsageError as error:
            raise UsageError(f"{place(source)}: {error}") from None
        return policy

    def to_toml(self) -> str:
        """The whole policy as a text that :meth:`read` takes, with what each key means."""
        return as_toml(self)

    def with_rule(self, name: str, function: Refuse) -> Self:
        """The policy with one more rule, in Python: it can only refuse what the others let pass.

        Args:
            name: what findings call it, and part of :attr:`id`: who changes what a rule does changes its name.
            function: gets a batch of evidence and the verdicts of its rows (``verdict.VERDICT_SCHEMA``), and gives
                (row, words) of those that it refuses. If it raises, all rows are refused.

        Raises:
            UsageError: a rule of this name is there, or it cannot be one.
        """
        if _RULE_NAME.fullmatch(name) is None or name in {rule.name for rule in self.rules}:
            raise UsageError(f"{name!r}: a rule has a name of its own, of letters, digits, dots, hyphens, underscores")
        return replace(self, rules=(*self.rules, Rule(name, function)))

    @property
    def compare_mask(self) -> int:
        """``pcrs_compare`` as bits."""
        return pcr_mask(self.pcrs_compare)

    @property
    def report_mask(self) -> int:
        """``pcrs_report`` as bits."""
        return pcr_mask(self.pcrs_report)

    @property
    def age_limit(self) -> datetime.timedelta:
        """``max_age``, or where there is none, longer than anything has been asked for."""
        return _NO_LIMIT if self.max_age is None else self.max_age

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the canonical form: of what the policy says, however it was written, with the contents of files
        that it names."""
        return canonical_id(self, (rule.name for rule in self.rules))

    def _contradictions(self) -> Iterator[str]:
        """What makes the rules together impossible, or open where they look closed."""
        if self.quote not in ("fresh", "any", "no"):
            yield '[evidence] quote: allowed is "fresh", "any" or "no"'
        if self.key not in KEY_LEVELS:
            yield f"[evidence] key: allowed is one of {', '.join(KEY_LEVELS)}"
        if self.quote == "fresh" and self.max_age is None:
            yield '[evidence] max_age: quote = "fresh" needs one, for how long a quote is fresh'
        if (self.ima == "runtime-policy") != (self.ima_runtime_policy is not None):
            yield '[ima] judge = "runtime-policy" and [ima] runtime_policy = "FILE": one needs the other'
        if self.ima_added not in ("high", "warning", "info"):
            yield '[ima] added: allowed is "high", "warning" or "info"'
        if self.ima_violations not in ("as-learned", "high", "warning"):
            yield '[ima] violations: allowed is "as-learned", "high" or "warning"'
        if self.max_age is not None and self.max_age <= datetime.timedelta(0):
            yield "[evidence] max_age: no quote is as young as that"
        yield from self._contradictions_of_banks()
        yield from self._contradictions_of_pcrs()

    def _contradictions_of_banks(self) -> Iterator[str]:
        if not self.banks_allowed:
            yield "[banks] allowed: without any bank nothing can be compared; name at least one"
        required = self.banks_required
        if required is not None and not required:
            yield '[banks] required: an empty list asks for nothing; name banks, or "baseline"'
        for key, banks in (("allowed", self.banks_allowed), ("required", required or ())):
            if unknown := [bank for bank in banks if bank not in BY_NAME]:
                yield f"[banks] {key}: no bank is called {unknown[0]!r}; there is {', '.join(BY_NAME)}"
        if lacking := [bank for bank in required or () if bank not in self.banks_allowed]:
            yield f"[banks] required: {lacking[0]} is required and not among the allowed banks"

    def _contradictions_of_pcrs(self) -> Iterator[str]:
        if not self.pcrs_compare:
            yield "[pcrs] compare: without any PCR every boot would equal its baseline; name at least one"
        for key, pcrs in (("compare", self.pcrs_compare), ("report", self.pcrs_report)):
            for pcr in pcrs:
                if pcr not in range(PCRS):
                    yield f"[pcrs] {key}: there are PCRs 0 to {PCRS - 1}; allowed is 0-9 and 11-14"
                if pcr == IMA_PCR:
                    yield f"[pcrs] {key}: PCR {pcr} grows while a machine runs; its entries are judged, never its value"
                if pcr in AFTER_BOOT:
                    words = "is extended or reset by what runs after the boot, and explained by no boot's log"
                    yield f"[pcrs] {key}: PCR {pcr} {words}; allowed is 0-9 and 11-14"
        if self.secure_boot.asks and SECURE_BOOT_PCR not in self.pcrs_compare:
            words = f"nothing would prove what the log says of PCR {SECURE_BOOT_PCR}, from which Secure Boot is judged"
            yield f"[pcrs] compare: {words}; add it, or leave out [secure_boot] required and minimum_..."
        if both := sorted(set(self.pcrs_compare) & set(self.pcrs_report)):
            words = "is compared too; a PCR is compared or reported (left out, report is as in default)"
            yield f"[pcrs] report: PCR {both[0]} {words}"
