"""Policies: which parts of the evidence must hold. The caller names one; evidence never chooses it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Final, Self

from pyverify.algorithms import BY_NAME, pcr_mask
from pyverify.errors import UsageError

_NEED_QUOTES: Final = ("default", "archive")


@dataclass(frozen=True)
class Policy:
    """What a verification requires. Make one with :meth:`preset`.

    ``banks_allowed`` are the banks whose digests count; ``banks_weak`` those of them that alone are a warning.
    ``pcrs_compare`` must equal the baseline; ``pcrs_report`` are told of when they differ.
    """

    name: str
    quote: str
    banks_allowed: tuple[str, ...]
    banks_weak: tuple[str, ...]
    pcrs_compare: tuple[int, ...]
    pcrs_report: tuple[int, ...]

    @classmethod
    def preset(cls, name: str) -> Self:
        """The preset of this name.

        ``log-only`` judges bare logs: nothing in it is signed, so its verdicts say ``attested: log``.

        Raises:
            UsageError: no preset is called so, or it needs evidence that this version does not judge yet.
        """
        if name == "log-only":
            return cls(
                name="log-only",
                quote="no",
                banks_allowed=tuple(BY_NAME),
                banks_weak=("sha1",),
                pcrs_compare=(0, 2, 3, 4, 7, 8, 9, 11, 12, 13, 14),
                pcrs_report=(1, 5, 6),
            )
        if name in _NEED_QUOTES:
            raise UsageError(
                f"policy {name!r} requires signed quotes, which this version cannot judge yet; "
                "--policy log-only judges bare logs, which anybody with root on the machine could have written"
            )
        raise UsageError(f"unknown policy {name!r}; there is log-only")

    @property
    def compare_mask(self) -> int:
        """``pcrs_compare`` as bits."""
        return pcr_mask(self.pcrs_compare)

    @property
    def report_mask(self) -> int:
        """``pcrs_report`` as bits."""
        return pcr_mask(self.pcrs_report)

    @cached_property
    def id(self) -> bytes:
        """SHA-256 of the canonical form."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, separators=(",", ":")).encode()).digest()
