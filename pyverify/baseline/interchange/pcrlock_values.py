"""``/var/lib/systemd/pcrlock.json``, the values that systemd-pcrlock predicts: ``pcrBank`` and ``pcrValues``.

They are those of every point of a boot that the prediction was for: a PCR that is extended meanwhile has several.
"""

from __future__ import annotations

import hashlib
from typing import Final

from pyverify.algorithms import PCRS
from pyverify.baseline.interchange import strict
from pyverify.baseline.interchange.imported import MAX_VALUES, Imported, imported, of_values
from pyverify.errors import UsageError

MAX_SIZE: Final = 4 << 20

_FILE: Final[dict[str, type]] = {"pcrBank": str, "pcrValues": list}
# How systemd finds the policy in the TPM: nothing that a PCR may hold.
_ABOUT_THE_TPM: Final[dict[str, type]] = dict.fromkeys(
    ("policyHash", "nvIndex", "nvHandle", "nvPublic", "srkHandle", "pinPublic", "pinPrivate"), object
)


def read(data: bytes, *, scope: str, name: str) -> Imported:
    """The baseline that a prediction is; its bank is the file's own word.

    Raises:
        UsageError: it is no such file, strictly read, or the name cannot be.
    """
    file = strict.members(strict.load(data, "a pcrlock.json", MAX_SIZE), "$", _FILE, _ABOUT_THE_TPM)
    bank = strict.bank_name(file["pcrBank"], "$.pcrBank")
    values: dict[int, list[bytes]] = {}
    for number, one in enumerate(strict.items(file["pcrValues"], "$.pcrValues", PCRS)):
        place = f"$.pcrValues[{number}]"
        strict.members(one, place, {"pcr": int, "values": list})
        pcr = strict.whole(one["pcr"], f"{place}.pcr", 0, PCRS - 1)
        listed = strict.items(one["values"], f"{place}.values", MAX_VALUES)
        if pcr in values or not listed:
            raise UsageError(f"{place} is of a PCR that was there before, or allows no value; allowed is neither")
        values[pcr] = [strict.digest(value, f"{place}.values[{n}]", bank) for n, value in enumerate(listed)]
    return imported(of_values(values, bank), (bank,), scope=scope, name=name, source=hashlib.sha256(data).digest())
