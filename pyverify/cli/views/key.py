"""A public key as `inspect` and `quote verify` show it."""

from __future__ import annotations

from typing import Any

from pyverify import _native
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.keys import Keys


def json_of(data: bytes) -> dict[str, Any]:
    """A TPM2B_PUBLIC, TPMT_PUBLIC, or bare key in DER or PEM, as names and numbers; or its fault."""
    keys = Keys.of(Ragged.of([data]))
    row, bare = keys.rows[0], bool(keys.bare[0])
    form = "SubjectPublicKeyInfo" if bare else "TPM2B_PUBLIC" if row["at"] else "TPMT_PUBLIC"
    key: dict[str, Any] = {"kind": "key", "form": form, "fault": None}
    if row["fault"]:
        code = _native.quote_fault_code(int(row["fault"]))
        return key | {"fault": {"code": code, "offset": int(row["fault_at"])}}
    key["type"] = tpm_names.algorithm_name(int(row["type"]))
    if not bare:
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


def words(key: dict[str, Any]) -> str:
    """What kind of key it is: ``ecc p256, ecdsa with sha256``."""
    size = f"{key['bits']} bits, exponent {key['exponent']}" if "bits" in key else key["curve"]
    scheme = key.get("scheme")
    named = "" if scheme in (None, "null") else f", {scheme}" + (f" with {key['hash']}" if key["hash"] else "")
    return f"{key['type']} {size}{named}"


def table_lines(data: bytes) -> list[str]:
    """The same for a person, a line each."""
    key = json_of(data)
    if key["fault"]:
        return [f"no key: {key['fault']['code']} at byte {key['fault']['offset']}"]
    lines = [f"key               {words(key)}"]
    if "name" not in key:
        return [*lines, "Name              (none: a bare key, of which nothing says that a TPM holds it)"]
    return [*lines, f"Name              {key['name']}", f"attributes        {'|'.join(key['attributes'])}"]
