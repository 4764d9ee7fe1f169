"""Whether the nonces of quotes are fresh: a pure function of a references snapshot and a time (DESIGN section 5.7)."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.baseline.identity import in_micros, to_micros
from pyverify.baseline.identity_columns import Asked, Identity

MAX_AGE: Final = datetime.timedelta(hours=24)
"""How long a challenge is good for where the policy says nothing else (DESIGN section 11)."""


class Freshness(IntEnum):
    """What the ledger says of one quote's nonce."""

    FRESH = 0
    UNFRESH_NO_ENTRY = 1
    UNFRESH_NOT_NEWEST = 2
    UNFRESH_TOO_OLD = 3
    UNFRESH_NOT_YET = 4
    WRONG_NONCE = 5
    REPLAYED = 6


FINDINGS: Final[dict[Freshness, tuple[str, str]]] = {
    Freshness.UNFRESH_NO_ENTRY: ("quote.unfresh", "no challenge of this key is in the ledger"),
    Freshness.UNFRESH_NOT_NEWEST: ("quote.unfresh", "answers a challenge that is not the key's newest"),
    Freshness.UNFRESH_TOO_OLD: ("quote.unfresh", "answers a challenge that is older than the policy allows"),
    Freshness.UNFRESH_NOT_YET: ("quote.unfresh", "answers a challenge that was issued after the time of this verdict"),
    Freshness.WRONG_NONCE: ("quote.nonce", "its nonce is none that this key was ever asked with"),
    Freshness.REPLAYED: ("quote.replayed", "its nonce was used before, with another quote"),
}
"""Code of the finding and its words, for all that is not fresh."""


def freshness(
    identity: Identity,
    ak_names: Sequence[bytes],
    nonces: Sequence[bytes],
    attests: Sequence[bytes],
    *,
    as_of: datetime.datetime,
    max_age: datetime.timedelta = MAX_AGE,
) -> npt.NDArray[np.uint8]:
    """Freshness of each quote, as uint8 of :class:`Freshness`.

    Args:
        identity: the keys and challenges of the references.
        ak_names: Name of the key whose signature was verified.
        nonces: extraData of the quote, compared byte for byte.
        attests: SHA-256 of the TPMS_ATTEST: what spends a nonce, as a signature has twins (SPEC 10.3, attack 74).
        as_of: the time of the verdicts, from the caller.
        max_age: from a challenge's issue to ``as_of``.
    """
    asked = identity.asked(ak_names, nonces, as_of=as_of)
    return judge_all(asked, attests, as_of=as_of, max_age=max_age)


def judge_all(
    asked: Asked, attests: Sequence[bytes], *, as_of: datetime.datetime, max_age: datetime.timedelta
) -> npt.NDArray[np.uint8]:
    """:func:`freshness` of quotes of whose nonces all is known that there is."""
    now = to_micros(as_of)
    oldest = now - in_micros(max_age)
    columns = zip(asked.any, asked.entries, asked.newest, attests, strict=True)
    codes = [
        judge(entry, newest, attest, now, oldest) if is_known else Freshness.UNFRESH_NO_ENTRY
        for is_known, entry, newest, attest in columns
    ]
    return np.array(codes, np.uint8)


def judge(
    entry: tuple[int, bytes | None] | None, newest: int | None, attest: bytes, now: int, oldest: int
) -> Freshness:
    """Freshness of one quote by a key that has challenges.

    Args:
        entry: when its nonce was issued to its key and what spent it; None where it never was.
        newest: when the newest challenge of the key was issued, of those until now.
        attest: SHA-256 of the TPMS_ATTEST.
        now: the time of the verdict. All times are microseconds since 1970.
        oldest: the earliest issue that is fresh.
    """
    if entry is None:
        return Freshness.WRONG_NONCE
    issued_at, spent_by = entry
    if spent_by is not None and spent_by != attest:
        return Freshness.REPLAYED
    if issued_at > now:
        return Freshness.UNFRESH_NOT_YET
    if issued_at != newest:
        return Freshness.UNFRESH_NOT_NEWEST
    return Freshness.UNFRESH_TOO_OLD if issued_at < oldest else Freshness.FRESH
