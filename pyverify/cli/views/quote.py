"""A quote as `inspect` and `quote verify` show it: what it says, of which nothing is proven by looking at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, pcrs_of
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged

_DAY = 86_400_000  # milliseconds


def json_of(data: bytes) -> dict[str, Any]:
    """A TPMS_ATTEST or TPM2B_ATTEST as names and numbers; where it has a fault, that and no more."""
    item = Ragged.of([data])
    row = _native.decode_attests(item.blob, item.offsets)[0]
    head: dict[str, Any] = {"kind": "quote", "form": "TPM2B_ATTEST" if row["at"] else "TPMS_ATTEST", "fault": None}
    if row["fault"]:
        code = _native.quote_fault_code(int(row["fault"]))
        head["fault"] = {"code": code, "offset": int(row["fault_at"])}
        if row["type"]:
            head["type"] = tpm_names.attest_name(int(row["type"]))
        return head

    def part(name: str) -> str:
        return data[int(row[f"{name}_at"]) :][: int(row[f"{name}_size"])].hex()

    return head | {
        "type": tpm_names.attest_name(int(row["type"])),
        "qualified_signer": part("signer"),
        "nonce": part("nonce"),
        "clock_ms": int(row["clock"]),
        "reset_count": int(row["reset_count"]),
        "restart_count": int(row["restart_count"]),
        "safe": bool(row["safe"]),
        "firmware_version": f"{int(row['firmware_version']):016x}",
        "selection": _selection(row),
        "pcr_digest": part("digest"),
    }


def _selection(row: npt.NDArray[Any]) -> list[dict[str, Any]]:
    names = {bank.id: bank.name for bank in BANKS}
    return [
        {
            "bank": names.get(int(hash_id)) or tpm_names.algorithm_name(int(hash_id)),
            "pcrs": [pcr for pcr in range(32) if int(mask) >> pcr & 1],
        }
        for hash_id, mask in zip(
            *(np.asarray(row[name][: row["n_selections"]]) for name in ("hash", "mask")), strict=True
        )
    ]


def table_lines(data: bytes) -> list[str]:
    """The same for a person, a line each."""
    quote = json_of(data)
    if quote["fault"]:
        what = f", {quote['type']}" if "type" in quote else ""
        return [f"{quote['form']}{what}: {quote['fault']['code']} at byte {quote['fault']['offset']}"]
    days, rest = divmod(quote["clock_ms"], _DAY)
    hours, rest = divmod(rest, 3_600_000)
    safe = "" if quote["safe"] else ", not safe: the clock may have gone back after a loss of power"
    time = f"{days} d {hours:02}:{rest // 60_000:02}:{rest % 60_000 // 1000:02}"
    lines = [
        f"nonce             {quote['nonce'] or '(none)'}",
        f"clock             {time} ({quote['clock_ms']} ms){safe}",
        f"resets, restarts  {quote['reset_count']}, {quote['restart_count']}",
        f"TPM firmware      {quote['firmware_version']}",
        f"qualified signer  {quote['qualified_signer'] or '(none)'}",
    ]
    lines += [f"{selected['bank']:<16}  PCR {ranges(selected['pcrs'])}" for selected in quote["selection"]]
    return [*lines, f"PCR digest        {quote['pcr_digest']}"]


def ranges(pcrs: list[int]) -> str:
    """``0-7, 9``."""
    runs: list[list[int]] = []
    for pcr in pcrs:
        if runs and runs[-1][1] == pcr - 1:
            runs[-1][1] = pcr
        else:
            runs.append([pcr, pcr])
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in runs) or "(none)"


def mask_ranges(mask: int) -> str:
    """The PCRs of a mask as :func:`ranges` writes them."""
    return ranges(list(pcrs_of(mask)))
