"""Verdict rows as EAT Attestation Results (EAR), signed or not, in the two dialects that are in use."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from pyverify.errors import UsageError
from pyverify.evidence.text import escape
from pyverify.findings import Severity
from pyverify.output.trust_vector import status_of, vector_of

DIALECTS: Final = ("draft", "veraison")
LIFETIME: Final = 24 * 3600
"""Seconds from a verdict to the end of its result: as long as the default policy lets a challenge be good."""
_NONCE_BYTES: Final = range(8, 65)
"""Sizes that a nonce of a result may have (RFC 9711 section 4.1). A TPM takes shorter ones too: they are left out, for
a result with such a claim is none, and a padded or hashed one would be another nonce than was asked."""

_PROFILES: Final = {"draft": "tag:ietf.org,2026:rats/ear#03", "veraison": "tag:github.com,2023:veraison/ear"}
_NAMES: Final = {
    "draft": {
        "status": "ear_status",
        "vector": "ear_trustworthiness_vector",
        "policy": "ear_appraisal_policy_ids",
        "verifier": "ear_verifier_id",
    },
    "veraison": {
        "status": "ear.status",
        "vector": "ear.trustworthiness-vector",
        "policy": "ear.appraisal-policy-id",
        "verifier": "ear.verifier-id",
    },
}

Sign = Callable[[dict[str, Any]], str]


def ear(row: dict[str, Any], dialect: str = "draft") -> dict[str, Any]:
    """The claims of one verdict row (of ``batch.to_pylist()``): one submodule, named as the machine.

    ``iat`` is the time of the verdict. ``eat_nonce`` is the nonce of the quotes that the verdict rests on, base64url
    without padding (RFC 9711 section 7.2.2), where all answer one and it may be one of a result; it says nothing of
    freshness, which ``attested`` does. What binds a result to its evidence is ``evidence_id`` under ``pyverify``, with
    the boot and what the verdict is founded on.

    Args:
        row: the row.
        dialect: ``draft`` (draft-ietf-rats-ear) or ``veraison`` (dotted names, one policy a submodule).
    """
    vector = vector_of(row)
    names, veraison = _NAMES[dialect], dialect == "veraison"
    policy = "none" if row["policy_id"] is None else f"sha256:{row['policy_id'].hex()}"
    issued = int(row["as_of"].timestamp())
    appraisal = {
        names["status"]: status_of(vector, row["verdict"]),
        names["vector"]: vector,
        names["policy"]: policy if veraison else [policy],
        "pyverify": _founded_on(row),
    }
    return {
        "eat_profile": _PROFILES[dialect],
        "iat": issued,
        "exp": issued + LIFETIME,
        **_answers(row["nonce"]),
        names["verifier"]: {"developer": "pyverify", "build": f"pyverify {version('pyverify')}"},
        "submods": {escape(row["machine"] or "?"): appraisal},
    }


def _answers(nonce: bytes | None) -> dict[str, str]:
    if nonce is None or len(nonce) not in _NONCE_BYTES:
        return {}
    return {"eat_nonce": base64.urlsafe_b64encode(nonce).rstrip(b"=").decode()}


def _founded_on(row: dict[str, Any]) -> dict[str, Any]:
    found = {name: row[name] for name in ("boot", "verdict", "attested", "key")}
    for name in ("evidence_id", "references_id"):
        found[name] = None if row[name] is None else row[name].hex()
    found["findings"] = sorted({f["code"] for f in row["findings"] if f["severity"] == Severity.HIGH})
    return {name: value for name, value in found.items() if value is not None}


def signer(path: str) -> Sign:
    """What signs claims as a compact JWT with a private key: Ed25519 (EdDSA) or P-256 (ES256).

    Args:
        path: the key, PEM, not encrypted.

    Raises:
        UsageError: it is no such key, or PyJWT is not installed.
    """
    try:
        import jwt
    except ImportError as error:
        raise UsageError("signing results takes PyJWT: pip install 'pyverify[ear]'") from error
    try:
        key = load_pem_private_key(Path(path).read_bytes(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} is no private key in PEM, or it is encrypted") from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        algorithm = "EdDSA"
    elif isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(key.curve, ec.SECP256R1):
        algorithm = "ES256"
    else:
        raise UsageError(f"{path}: results are signed by Ed25519 or P-256 keys")
    return lambda claims: jwt.encode(claims, key, algorithm=algorithm)


def ear_lines(dialect: str, key: str | None) -> Callable[[dict[str, Any]], list[str]]:
    """What makes a line of a verdict row: a JWT where there is a key, else a JSON object, never an unsigned JWT."""
    sign: Sign = signer(key) if key is not None else lambda claims: json.dumps(claims, separators=(",", ":"))
    return lambda row: [sign(ear(row, dialect))]
