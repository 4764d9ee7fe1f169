"""Which source of evidence explains a PCR: the firmware's log, systemd's userspace log, the IMA list (SPEC 4.5).

Sources are replayed one behind the other. An authentic value that is reached only with a later source is explained by
that source; one that is reached and then left again shows that what follows was not in the quoted PCR.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from pyverify.algorithms import PCRS, pcr_mask
from pyverify.errors import UsageError

ALL_PCRS: Final = (1 << PCRS) - 1


@dataclass(frozen=True, slots=True)
class Explanation:
    """How each PCR of one bank comes to its authentic value; masks have a bit each PCR.

    Attributes:
        source: by PCR the name of the source that completes it, the first after which the replay is at the authentic
            value; None where none is, or where no authentic value is known.
        later: PCRs that the first source explains a proper prefix of, and a later one the rest (``replay.prefix``).
        surplus: PCRs that are at the authentic value before the last source that extends them: what that one says
            of them is unproven.
        unexplained: PCRs with an authentic value that is reached after no source.
    """

    source: tuple[str | None, ...]
    later: int
    surplus: int
    unexplained: int


def explain(
    values_after: Sequence[tuple[str, npt.NDArray[np.uint8]]],
    authentic: npt.NDArray[np.uint8],
    known: int = ALL_PCRS,
) -> Explanation:
    """Explains the PCRs of one bank.

    Args:
        values_after: in the order in which they extend, the name of each source and the PCR values after it, uint8 of
            shape [24, digest size]: the same as before where it does not extend a PCR.
        authentic: the values that the TPM vouches for, uint8 of shape [24, digest size].
        known: the mask of the PCRs for which ``authentic`` holds one.

    Raises:
        UsageError: no source, or values of another shape.
    """
    if not values_after or any(values.shape != authentic.shape for _, values in values_after):
        raise UsageError("PCR values of sources must have the shape of the authentic ones")
    names = [name for name, _ in values_after]
    after = np.stack([values for _, values in values_after])
    wanted = (known >> np.arange(PCRS) & 1).astype(bool)
    reached = (after == authentic).all(axis=2) & wanted
    explained = reached.any(axis=0)
    first = reached.argmax(axis=0)
    return Explanation(
        tuple(names[first[pcr]] if explained[pcr] else None for pcr in range(PCRS)),
        later=_mask(first > 0),
        surplus=_mask(explained & (after[-1] != authentic).any(axis=1)),
        unexplained=_mask(wanted & ~explained),
    )


def _mask(pcrs: npt.NDArray[np.bool_]) -> int:
    return pcr_mask([int(pcr) for pcr in np.flatnonzero(pcrs)])
