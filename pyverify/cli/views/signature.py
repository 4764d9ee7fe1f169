"""The signature of a quote, as `inspect` shows it."""

from __future__ import annotations

from typing import Any, Final

from pyverify import _native
from pyverify.cli.views import Asked, Table, labelled
from pyverify.cli.views.structures import structure_fault
from pyverify.errors import EvidenceError
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.text import escape
from pyverify.findings import Finding

_FORMS: Final = {
    _native.SIGNATURE_TPMT: "TPMT_SIGNATURE",
    _native.SIGNATURE_RSA: "plain RSA",
    _native.SIGNATURE_DER: "DER",
}


def view(data: bytes, asked: Asked) -> SignatureView:
    """A TPMT_SIGNATURE, or the plain form that tools write of it."""
    return SignatureView(data, asked.name)


class SignatureView:
    """A signature as names and numbers; or its fault."""

    def __init__(self, data: bytes, name: str = "") -> None:
        item = Ragged.of([data])
        self._name = name
        self._data = data
        self._row = _native.decode_signatures(item.blob, item.offsets)[0]

    def _form(self) -> str:
        return _FORMS.get(int(self._row["form"]), "unknown")

    @property
    def title(self) -> str:
        """In what form it is."""
        return f"{escape(self._name)}: signature ({self._form()}); `pyverify quote verify` says whether it holds"

    def document(self) -> dict[str, Any]:
        """Scheme and hash, which only a TPMT_SIGNATURE states, and its numbers."""
        row = self._row
        head: dict[str, Any] = {"kind": "signature", "form": self._form(), "fault": None}
        if (code := _native.quote_fault_code(int(row["fault"]))) is not None:
            return head | {"fault": {"code": code, "offset": int(row["fault_at"])}}
        numbers = ["r", "s"] if row["s_size"] else ["r"]
        parts = {n: self._data[int(row[f"{n}_at"]) :][: int(row[f"{n}_size"])].hex() for n in numbers}
        return head | {
            "scheme": tpm_names.algorithm_name(int(row["scheme"])) if row["scheme"] else None,
            "hash": tpm_names.algorithm_name(int(row["hash"])) if row["hash"] else None,
            **(parts if "s" in parts else {"signature": parts["r"]}),
        }

    def table(self) -> Table:
        """The same for a person, a line a fact."""
        found = self.document()
        if found["fault"]:
            return labelled([])
        return labelled([(name, found[name] or "(not stated)") for name in list(found)[3:]])

    def findings(self) -> list[Finding]:
        """None: a signature alone says nothing."""
        return []

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps it from being read to its end."""
        return structure_fault(self._row, "TPMT_SIGNATURE or plain signature", "tpm2_quote -s")
