"""A quote as `inspect` and `quote verify` show it: what it says, of which nothing is proven by looking at it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS, pcrs_of
from pyverify.cli.views import Asked, Table, labelled
from pyverify.cli.views.structures import structure_fault
from pyverify.errors import EvidenceError
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.text import escape
from pyverify.findings import Finding

_DAY = 86_400_000  # milliseconds


def view(data: bytes, asked: Asked) -> QuoteView:
    """A TPMS_ATTEST or TPM2B_ATTEST, of any type."""
    return QuoteView(data, asked.name)


class QuoteView:
    """A quote as names and numbers; where it has a fault, that and no more."""

    def __init__(self, data: bytes, name: str = "") -> None:
        item = Ragged.of([data])
        self._name = name
        self._data = data
        self._row = _native.decode_attests(item.blob, item.offsets)[0]
        self._form = "TPM2B_ATTEST" if self._row["at"] else "TPMS_ATTEST"

    @property
    def title(self) -> str:
        """What it attests."""
        kind = int(self._row["type"])
        what = tpm_names.attest_name(kind) if kind else "unknown"
        return f"{escape(self._name)}: attestation, {what} ({self._form}); `pyverify quote verify` says what it proves"

    def document(self) -> dict[str, Any]:
        """The fields of the structure; of a type other than quote, what is in all of them."""
        row = self._row
        head: dict[str, Any] = {"kind": "quote", "form": self._form, "fault": None}
        if (code := _native.quote_fault_code(int(row["fault"]))) is not None:
            head["fault"] = {"code": code, "offset": int(row["fault_at"])}
            return head | ({"type": tpm_names.attest_name(int(row["type"]))} if row["type"] else {})
        return head | {
            "type": tpm_names.attest_name(int(row["type"])),
            "qualified_signer": self._part("signer"),
            "nonce": self._part("nonce"),
            "clock_ms": int(row["clock"]),
            "reset_count": int(row["reset_count"]),
            "restart_count": int(row["restart_count"]),
            "safe": bool(row["safe"]),
            "firmware_version": f"{int(row['firmware_version']):016x}",
            "selection": _selection(row),
            "pcr_digest": self._part("digest"),
        }

    def _part(self, name: str) -> str:
        return self._data[int(self._row[f"{name}_at"]) :][: int(self._row[f"{name}_size"])].hex()

    def table(self) -> Table:
        """The same for a person, a line a fact."""
        quote = self.document()
        if quote["fault"]:
            return labelled([])
        days, rest = divmod(quote["clock_ms"], _DAY)
        hours, rest = divmod(rest, 3_600_000)
        safe = "" if quote["safe"] else ", not safe: the clock may have gone back after a loss of power"
        time = f"{days} d {hours:02}:{rest // 60_000:02}:{rest % 60_000 // 1000:02}"
        return labelled(
            [
                ("nonce", quote["nonce"] or "(none)"),
                ("clock", f"{time} ({quote['clock_ms']} ms){safe}"),
                ("resets, restarts", f"{quote['reset_count']}, {quote['restart_count']}"),
                ("TPM firmware", quote["firmware_version"]),
                ("qualified signer", quote["qualified_signer"] or "(none)"),
                *((selected["bank"], f"PCR {ranges(selected['pcrs'])}") for selected in quote["selection"]),
                ("PCR digest", quote["pcr_digest"]),
            ]
        )

    def findings(self) -> list[Finding]:
        """None: what a quote says against itself is its fault, the rest its key and its nonce say."""
        return []

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps it from being read to its end."""
        return structure_fault(self._row, "TPMS_ATTEST or TPM2B_ATTEST", "tpm2_quote -m")


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
