"""The forms that baselines are written in and read from, for whoever lists or chooses them. Nothing is loaded here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Format:
    """One form. ``module`` of this package has ``export`` and ``read`` where the form has them.

    ``source`` says what it is made of: baselines, or the log of one boot. ``files``: whether it is a folder of files.
    ``needs_bank``: whether its digests name no algorithm, so that the caller must.
    """

    name: str
    about: str
    module: str
    exports: bool
    imports: bool
    source: str = "baselines"
    files: bool = False
    needs_bank: bool = False


FORMATS: Final[tuple[Format, ...]] = (
    Format("json", "whole baselines without loss, pyverify's own", "own_json", exports=True, imports=True),
    Format(
        "keylime-policy",
        "Keylime's tpm_policy: values of PCRs in one bank",
        "keylime_policy",
        exports=True,
        imports=True,
        needs_bank=True,
    ),
    Format(
        "keylime-refstate",
        "Keylime's measured-boot reference state: firmware, keys, kernels; boots are held against it",
        "keylime_check",
        exports=True,
        imports=False,
        source="log",
    ),
    Format(
        "pcrlock",
        "systemd-pcrlock's components and variants: sequences of events",
        "pcrlock",
        exports=True,
        imports=True,
        files=True,
    ),
    Format(
        "pcrlock-values",
        "systemd's pcrlock.json: predicted values of PCRs",
        "pcrlock_values",
        exports=False,
        imports=True,
    ),
    Format(
        "corim",
        "CoRIM, unsigned, with a CoMID a baseline: values of PCRs as integrity registers",
        "corim",
        exports=True,
        imports=False,
    ),
)
