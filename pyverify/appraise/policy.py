"""Policies: which parts of the evidence must hold. The caller names one; evidence never chooses it."""

from __future__ import annotations

import datetime
import hashlib
import json
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Final, Literal, Self

from pyverify.algorithms import pcr_mask
from pyverify.errors import UsageError

KEY_LEVELS: Final = ("none", "first-use", "enrolled", "activated", "certified")
"""How well a key is founded, weakest first (DESIGN section 1)."""

WEAK_BANKS: Final = ("sha1",)
"""Banks whose collisions are for sale: alone they are ``bank.weak``."""

_NO_LIMIT: Final = datetime.timedelta(days=365_000)


@dataclass(frozen=True)
class Policy:
    """What a verification requires. Make one with :meth:`preset` (DESIGN section 11).

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
        ima: ``baseline`` judges IMA lists by the set that was learned, ``no`` does not look at them.
        kexec: whether a machine may have started another kernel from the running one.
    """

    name: str
    quote: Literal["fresh", "any", "no"]
    key: str
    max_age: datetime.timedelta | None
    banks_allowed: tuple[str, ...]
    banks_required: tuple[str, ...] | None
    pcrs_compare: tuple[int, ...]
    pcrs_report: tuple[int, ...]
    ima: Literal["baseline", "no"]
    kexec: bool

    @classmethod
    def preset(cls, name: str) -> Self:
        """The preset of this name.

        ``default`` wants a fresh quote by an enrolled key, ``archive`` the same without freshness; ``log-only`` judges
        bare logs: nothing in it is signed, so its verdicts say ``attested: log``.

        Raises:
            UsageError: no preset is called so.
        """
        default = cls(
            name="default",
            quote="fresh",
            key="enrolled",
            max_age=datetime.timedelta(hours=24),
            banks_allowed=("sha256", "sha384", "sha512", "sm3_256"),
            banks_required=None,
            pcrs_compare=(0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14),
            pcrs_report=(1, 5, 6),
            ima="baseline",
            kexec=False,
        )
        presets = {
            "default": default,
            "archive": replace(default, name="archive", quote="any", max_age=None),
            "log-only": replace(
                default,
                name="log-only",
                quote="no",
                key="none",
                max_age=None,
                banks_allowed=(*WEAK_BANKS, *default.banks_allowed),
            ),
        }
        if name not in presets:
            raise UsageError(f"unknown policy {name!r}; there is {', '.join(presets)}")
        return presets[name]

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
        """SHA-256 of the canonical form."""
        facts = {**asdict(self), "max_age": None if self.max_age is None else self.max_age.total_seconds()}
        return hashlib.sha256(json.dumps(facts, sort_keys=True, separators=(",", ":")).encode()).digest()
