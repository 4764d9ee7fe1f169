"""What a baseline may live with: findings that were there when it was learned (``learn --accept``)."""

from __future__ import annotations

from typing import Final

ACCEPTABLE: Final = frozenset(
    (
        "event.after-exit-boot-services",
        "event.data-mismatch",
        "separator.disguised",
        "separator.duplicate",
        "separator.error",
        "separator.missing",
    )
)
"""Codes that may be lived with: what is odd about events whose digests the baseline pins, each at its place, so that
the same oddity anywhere else is still a difference. All others say that evidence is not authentic, not whole or not of
this boot (quotes, keys, replay, banks, faults of logs, IMA), that it differs from a baseline, which ``approve`` is for,
or that it is not as the policy wants it, which only a policy changes."""

POLICY_PCR: Final = 7
"""What Secure Boot measures has to be proven (DESIGN section 6)."""


def is_acceptable(code: str, pcr: int | None) -> bool:
    """Whether a finding of this code and PCR may be lived with."""
    return code in ACCEPTABLE and pcr is not None and pcr != POLICY_PCR
