"""``learn --accept``: what speaks against a first boot and is lived with, as an exception stored with its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyverify.algorithms import PCRS
from pyverify.baseline.acceptable import ACCEPTABLE, POLICY_PCR
from pyverify.baseline.model import Accepted
from pyverify.errors import UsageError
from pyverify.findings import CODES, Finding


def parse_accepted(exceptions: Sequence[str], reason: str | None) -> tuple[Accepted, ...]:
    """Exceptions as ``CODE:PCR``, each once, all for one reason.

    Raises:
        UsageError: a code that is unknown or is never accepted, no PCR or one that cannot be, or no reason.
    """
    if exceptions and not (reason or "").strip():
        raise UsageError("an exception needs a reason: --accept CODE:PCR --reason TEXT")
    if reason is not None and not exceptions:
        raise UsageError("--reason is that of --accept CODE:PCR, and nothing is accepted")
    return tuple(dict.fromkeys(_parse(text, reason or "") for text in exceptions))


def _parse(text: str, reason: str) -> Accepted:
    code, colon, number = text.partition(":")
    if code not in CODES:
        raise UsageError(f"--accept {text}: there is no finding {code!r}")
    if code not in ACCEPTABLE:
        raise UsageError(f"--accept {text}: {code} is never accepted; what may be is {', '.join(sorted(ACCEPTABLE))}")
    if not colon:
        raise UsageError(f"--accept {text}: say of which PCR, such as {code}:4")
    if not (number.isascii() and number.isdecimal()) or len(number) > 2 or int(number) >= PCRS:
        raise UsageError(f"--accept {text}: {number!r} is no PCR, which is a number below {PCRS}")
    if int(number) == POLICY_PCR:
        raise UsageError(f"--accept {text}: nothing is accepted of PCR 7, where Secure Boot is measured")
    return Accepted(code, int(number), reason)


def needed(accepted: Iterable[Accepted], findings: Sequence[Finding]) -> tuple[Accepted, ...]:
    """Those of the exceptions without which a boot with these findings would not have passed."""
    used = [finding for finding in findings if finding.code == "baseline.accepted"]
    return tuple(
        one
        for one in dict.fromkeys(accepted)
        if any(finding.pcr == one.pcr and finding.hint.startswith(f"{one.code}: ") for finding in used)
    )
