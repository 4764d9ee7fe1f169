"""A public key as `inspect` and `quote verify` show it."""

from __future__ import annotations

from typing import Any

from pyverify import _native
from pyverify.cli.views import Asked, Table, labelled
from pyverify.cli.views.structures import structure_fault
from pyverify.errors import EvidenceError
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys
from pyverify.evidence.text import escape
from pyverify.findings import Finding


def view(data: bytes, asked: Asked) -> KeyView:
    """A TPM2B_PUBLIC, TPMT_PUBLIC, or bare key in DER or PEM."""
    return KeyView(data, asked.name)


class KeyView:
    """A public key as names and numbers; or its fault."""

    def __init__(self, data: bytes, name: str = "") -> None:
        self._name = name
        self._keys = Keys.of(Ragged.of([data]))
        self._row = self._keys.rows[0]
        bare = bool(self._keys.bare[0])
        self._form = "SubjectPublicKeyInfo" if bare else "TPM2B_PUBLIC" if self._row["at"] else "TPMT_PUBLIC"

    @property
    def title(self) -> str:
        """In what form it is."""
        return f"{escape(self._name)}: public key ({self._form})"

    def document(self) -> dict[str, Any]:
        """Type, numbers, and of a TPM's key its Name, attributes and scheme."""
        keys, row = self._keys, self._row
        key: dict[str, Any] = {"kind": "key", "form": self._form, "fault": None}
        if (code := _native.quote_fault_code(int(row["fault"]))) is not None:
            return key | {"fault": {"code": code, "offset": int(row["fault_at"])}}
        key["type"] = tpm_names.algorithm_name(int(row["type"]))
        if not keys.bare[0]:
            key |= {
                "name": keys.names[0].hex(),
                "attributes": tpm_names.attribute_names(int(row["attributes"])),
                "scheme": tpm_names.algorithm_name(int(row["scheme"])),
                "hash": tpm_names.algorithm_name(int(row["scheme_hash"])) if row["scheme_hash"] else None,
                "symmetric": tpm_names.algorithm_name(int(row["symmetric"])),
            }
        x, y = keys.point(0)
        if row["type"] == tpm_names.RSA:
            return key | {"bits": int(row["bits"]), "exponent": int(row["exponent"]), "modulus": f"{x:x}"}
        return key | {"curve": tpm_names.curve_name(int(row["curve"])), "x": f"{x:x}", "y": f"{y:x}"}

    def table(self) -> Table:
        """The same for a person, a line a fact."""
        key = self.document()
        if key["fault"]:
            return labelled([])
        facts = [("key", words(key))]
        if "name" not in key:
            return labelled([*facts, ("Name", "(none: a bare key, of which nothing says that a TPM holds it)")])
        return labelled([*facts, ("Name", key["name"]), ("attributes", "|".join(key["attributes"]))])

    def findings(self) -> list[Finding]:
        """None: whether a key may sign is for a policy to say."""
        return []

    @property
    def fault(self) -> EvidenceError | None:
        """What keeps it from being read to its end."""
        return structure_fault(self._row, "TPM2B_PUBLIC, TPMT_PUBLIC or public key in PEM or DER", "tpm2_createak -u")


def words(key: dict[str, Any]) -> str:
    """What kind of key it is: ``ecc p256, ecdsa with sha256``."""
    size = f"{key['bits']} bits, exponent {key['exponent']}" if "bits" in key else key["curve"]
    scheme = key.get("scheme")
    named = "" if scheme in (None, "null") else f", {scheme}" + (f" with {key['hash']}" if key["hash"] else "")
    return f"{key['type']} {size}{named}"
