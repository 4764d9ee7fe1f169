"""Keylime's ``tpm_policy``: ``{"22": ["hex", …], "mask": "0x408400"}``, allowed values by PCR (SPEC section 9.4).

Its digests name no algorithm, and those of SHA-256 and SM3 are of one length: the bank is the caller's word, and all
values are of it (SPEC attack 103).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from pyverify.algorithms import pcr_mask, pcrs_of
from pyverify.baseline.interchange import strict
from pyverify.baseline.interchange.imported import (
    MAX_VALUES,
    Imported,
    chosen_bank,
    chosen_pcrs,
    current_values,
    imported,
    of_values,
)
from pyverify.baseline.model import Baseline
from pyverify.errors import UsageError

MAX_SIZE: Final = 1 << 20
"""Bytes of a policy: 24 PCRs of 64 values are 200 KB."""

_MASK: Final = re.compile(r"0x[0-9a-f]{1,6}", re.ASCII)


def export(baseline: Baseline, *, pcrs: Iterable[int], bank: str = "sha256") -> bytes:
    """The policy that allows these PCRs their current values in one bank.

    Keylime checks only PCRs that a policy names, so none of those asked for is left out in silence.

    Raises:
        UsageError: a PCR without an allowed value, without one in this bank, or with events that may have any digest.
    """
    bank = chosen_bank(bank)
    chosen = chosen_pcrs(pcrs)
    policy: dict[str, Any] = {
        str(pcr): [value.hex() for value in current_values(baseline, pcr, bank)] for pcr in chosen
    }
    policy["mask"] = f"{pcr_mask(chosen):#x}"
    return json.dumps(policy, indent=2).encode() + b"\n"


def read(data: bytes, *, bank: str, scope: str, name: str) -> Imported:
    """The baseline that a policy is, its values being of the bank that the caller names.

    A mask may select more PCRs than have values (Keylime adds those of IMA and measured boot), never fewer.

    Raises:
        UsageError: it is no such policy, strictly read, or the name cannot be.
    """
    bank = chosen_bank(bank)
    policy = strict.mapping(strict.load(data, "a tpm_policy", MAX_SIZE), "$")
    values = {
        strict.pcr_number(key, "$"): _values(value, strict.at("$", key), bank)
        for key, value in policy.items()
        if key != "mask"
    }
    if "mask" in policy:
        mask = policy["mask"]
        if not isinstance(mask, str) or not _MASK.fullmatch(mask):
            raise strict.wrong("$.mask", mask, "0x and 1 to 6 lower-case hexadecimal digits")
        if unselected := set(values) - set(pcrs_of(int(mask, 16))):
            raise UsageError(f"$.mask does not select PCR {', '.join(map(str, sorted(unselected)))}, which has values")
    source = hashlib.sha256(data).digest()
    return imported(of_values(values, bank), (bank,), scope=scope, name=name, source=source)


def _values(value: object, place: str, bank: str) -> list[bytes]:
    """The values of a PCR; one alone may stand without its list."""
    if isinstance(value, str):
        return [strict.digest(value, place, bank)]
    listed = strict.items(value, place, MAX_VALUES)
    if not listed:
        raise UsageError(f"{place} is empty; allowed is at least one value")
    return [strict.digest(one, f"{place}[{number}]", bank) for number, one in enumerate(listed)]
