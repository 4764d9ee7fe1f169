"""Certificates of endorsement and attestation keys: full path validation against pinned roots.

``cryptography``'s own path validation is for the web (server names, its profile of critical extensions), so the path
is walked here and each signature is left to others: RSA and ECDSA to ``cryptography``, SM2-with-SM3 to
:mod:`pyverify.evidence.sm2`. Revocation is not looked up: nothing here ever opens a connection.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence import sm2
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import curve_of
from pyverify.evidence.key_rules import LEAST_EXPONENT, RSA_BITS
from pyverify.evidence.keys import SM2_SPKI, Keys
from pyverify.evidence.public_area import EccKey, PublicKey, RsaKey, public_key
from pyverify.evidence.text import escape

Purpose: TypeAlias = Literal["ek", "ak"]

MAX_FILE_SIZE: Final = 1 << 16
MAX_CERTIFICATES: Final = 16
_MAX_CHAIN: Final = 8
"""Authorities between a leaf and its root; vendors use up to four."""
_MAX_CHECKS: Final = 64
"""Signatures checked for one leaf: many authorities of one name must not cost an exponential search."""

# tcg-kp-EKCertificate, tcg-kp-AIKCertificate (SPEC section 8.4)
_PURPOSES: Final = {"ek": x509.ObjectIdentifier("2.23.133.8.1"), "ak": x509.ObjectIdentifier("2.23.133.8.3")}
_SM2_WITH_SM3: Final = x509.ObjectIdentifier("1.2.156.10197.1.501")
_STRONG_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)

# Critical extensions that are judged below, or that only say more where no policy is asked for. A subject alternative
# name is critical in EK certificates, whose subject is empty: it names the TPM's model, and no name is matched here.
_HANDLED: Final = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
    ExtensionOID.AUTHORITY_KEY_IDENTIFIER,
    ExtensionOID.SUBJECT_KEY_IDENTIFIER,
}
_LIBRARY_ERRORS: Final = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # where warnings are errors
)


class TpmModel(NamedTuple):
    """What an EK certificate says the TPM is, for deny lists: text of the certificate, not escaped."""

    manufacturer: str
    model: str
    version: str


_MODEL_OIDS: Final = TpmModel("2.23.133.2.1", "2.23.133.2.2", "2.23.133.2.3")


def read_certificates(data: bytes) -> list[bytes]:
    """The certificates of a file, in DER: PEM, or one DER after the other.

    What an NV index of fixed size has after the certificate, all 0x00 or all 0xFF, is left off; nothing else is.

    Raises:
        EvidenceError: ``key.certificate`` where it is neither, empty or beyond the limits.
    """
    if len(data) > MAX_FILE_SIZE:
        raise _error(f"{len(data)} bytes are too many")
    try:
        if b"-----BEGIN" in data:
            found = [c.public_bytes(Encoding.DER) for c in x509.load_pem_x509_certificates(data)]
        else:
            found = list(_split(data))
    except _LIBRARY_ERRORS as error:
        raise _error(escape(str(error))) from error
    if not 1 <= len(found) <= MAX_CERTIFICATES:
        raise _error(f"{len(found)} certificates instead of 1 to {MAX_CERTIFICATES}")
    for der in found:
        if _load(der) is None:
            raise _error("not a certificate in strict DER")
    return found


def _split(data: bytes) -> Iterator[bytes]:
    for _ in range(MAX_CERTIFICATES + 1):
        if not data.strip(b"\0") or not data.strip(b"\xff"):
            return
        size = _element(data, 0, 0x30)[1]
        yield data[:size]
        data = data[size:]


def check_chain(
    leaf: bytes,
    intermediates: Sequence[bytes],
    roots: Sequence[bytes],
    *,
    at: datetime.datetime,
    purpose: Purpose,
    key: PublicKey,
) -> list[str]:
    """Why a certificate does not certify a key, in words (``key.certificate``); an empty list where it does.

    Args:
        leaf: the certificate, DER.
        intermediates: what came with it, DER; trusted for nothing, in any order.
        roots: the pinned certificates, DER: paths end at one of these very bytes and nowhere else.
        at: the time of the verdict, from the caller and with its zone; the clock is never asked.
        purpose: ``ek`` or ``ak``: the extended key usage that must be there.
        key: the key of the public area that is relied on; the certificate must be for this one.

    Raises:
        UsageError: the time has no zone.
    """
    if at.tzinfo is None:
        raise UsageError("certificates are judged at a time with its zone")
    certificate = _load(leaf)
    if certificate is None:
        return ["the certificate is not strict DER"]
    try:
        faults = _time_faults(certificate, at) + _leaf_faults(certificate, purpose)
        if public_key_of(leaf) != key:
            faults.append("it is for another key than the public area that was given")
        search = _Search(intermediates[:MAX_CERTIFICATES], roots, at, purpose)
        return faults + search.faults_above([certificate])
    except _LIBRARY_ERRORS as error:
        return [f"the certificate does not parse: {escape(str(error))}"]


def public_key_of(der: bytes) -> PublicKey | None:
    """The key that a certificate is for; None where it is of a kind, size or curve that is not allowed."""
    certificate = _load(der)
    try:
        return None if certificate is None else _key_of(certificate)
    except _LIBRARY_ERRORS:
        return None


def model_of(der: bytes) -> TpmModel | None:
    """What the certificate says the TPM is (SPEC section 8.4); None where it says nothing."""
    certificate = _load(der)
    if certificate is None:
        return None
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found = [
            TpmModel(*(str(name.get_attributes_for_oid(x509.ObjectIdentifier(oid))[0].value) for oid in _MODEL_OIDS))
            for name in names.get_values_for_type(x509.DirectoryName)
        ]
    except (*_LIBRARY_ERRORS, x509.ExtensionNotFound, IndexError):
        return None
    return found[0] if len(found) == 1 else None


class _Search:
    """The search for a path from a leaf to a pinned root."""

    def __init__(
        self, intermediates: Sequence[bytes], roots: Sequence[bytes], at: datetime.datetime, purpose: Purpose
    ) -> None:
        known = [(der, True) for der in roots] + [(der, False) for der in intermediates]
        self._known = [(c, pinned) for der, pinned in known if (c := _load(der)) is not None]
        self._at = at
        self._purpose = purpose
        self._checks = 0

    def faults_above(self, path: list[x509.Certificate]) -> list[str]:
        """Why no path leads from the last of these, of which each issued the one before, to a pinned root."""
        certificate, below = path[-1], len(path) - 1
        issuer = escape(certificate.issuer.rfc4514_string()) or "(no name)"
        faults: list[str] = []
        for candidate, pinned in self._known:
            if candidate.subject != certificate.issuer or (candidate in path and not pinned):
                continue
            self._checks += 1
            if self._checks > _MAX_CHECKS or below > _MAX_CHAIN:
                return ["the chain is too long or too ambiguous"]
            found = self._authority_faults(candidate, below) or _signature_faults(certificate, candidate)
            if not found and not pinned:
                found = self.faults_above([*path, candidate])
            if not found:
                return []
            faults += [fault for fault in found if fault not in faults]
        return faults or [f"no pinned root, and no certificate that leads to one, is of its issuer {issuer}"]

    def _authority_faults(self, certificate: x509.Certificate, below: int) -> list[str]:
        """Why a certificate may not issue others with ``below`` authorities between."""
        name = escape(certificate.subject.rfc4514_string()) or "(no name)"
        try:
            extensions = {extension.oid: extension.value for extension in certificate.extensions}
            faults = _time_faults(certificate, self._at) + _critical_faults(certificate)
            if _key_of(certificate) is None:
                faults.append("its key is too weak or of an unknown kind")
        except _LIBRARY_ERRORS as error:
            return [f"the authority {name} does not parse: {escape(str(error))}"]
        constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
        usage = extensions.get(ExtensionOID.KEY_USAGE)
        purposes = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
        if not isinstance(constraints, x509.BasicConstraints) or not constraints.ca:
            faults.append("it is no authority (CA:FALSE)")
        elif constraints.path_length is not None and below > constraints.path_length:
            faults.append(f"its path length {constraints.path_length} allows fewer authorities below it")
        if isinstance(usage, x509.KeyUsage) and not usage.key_cert_sign:
            faults.append("its key usage does not allow to sign certificates")
        wanted = {_PURPOSES[self._purpose], ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
        if isinstance(purposes, x509.ExtendedKeyUsage) and not wanted & set(purposes):
            faults.append("its extended key usage is another")
        return [f"the authority {name}: {fault}" for fault in faults]


def _time_faults(certificate: x509.Certificate, at: datetime.datetime) -> list[str]:
    if at < certificate.not_valid_before_utc:
        return [f"not valid before {certificate.not_valid_before_utc:%Y-%m-%d}"]
    if at > certificate.not_valid_after_utc:
        return [f"expired on {certificate.not_valid_after_utc:%Y-%m-%d}"]
    return []


def _leaf_faults(certificate: x509.Certificate, purpose: Purpose) -> list[str]:
    faults = _critical_faults(certificate)
    extensions = {extension.oid: extension.value for extension in certificate.extensions}
    constraints = extensions.get(ExtensionOID.BASIC_CONSTRAINTS)
    usage = extensions.get(ExtensionOID.KEY_USAGE)
    purposes = extensions.get(ExtensionOID.EXTENDED_KEY_USAGE)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        faults.append("it is an authority's own certificate (CA:TRUE)")
    if not isinstance(purposes, x509.ExtendedKeyUsage) or _PURPOSES[purpose] not in purposes:
        faults.append(f"its extended key usage does not say {purpose.upper()} ({_PURPOSES[purpose].dotted_string})")
    if isinstance(usage, x509.KeyUsage):
        fits = usage.digital_signature if purpose == "ak" else usage.key_encipherment or usage.key_agreement
        if not fits:
            faults.append("its key usage is another")
    return faults


def _critical_faults(certificate: x509.Certificate) -> list[str]:
    """Extensions that are not handled. Name constraints are not evaluated, so they are refused, critical or not."""
    faults = []
    for extension in certificate.extensions:
        is_constraint = extension.oid == ExtensionOID.NAME_CONSTRAINTS
        if is_constraint or (extension.critical and extension.oid not in _HANDLED):
            faults.append(f"extension {extension.oid.dotted_string}, which is not handled")
    return faults


def _signature_faults(certificate: x509.Certificate, issuer: x509.Certificate) -> list[str]:
    """Why a certificate is not signed by this issuer, whose name and key were looked at already."""
    name = escape(issuer.subject.rfc4514_string()) or "(no name)"
    try:
        if certificate.signature_algorithm_oid == _SM2_WITH_SM3:
            key = _subject_public_key_info(issuer.tbs_certificate_bytes)
            is_signed = sm2.verify_with_za(key, certificate.signature, certificate.tbs_certificate_bytes)
            return [] if is_signed else [f"not signed by {name}"]
        if not isinstance(certificate.signature_hash_algorithm, _STRONG_HASHES):
            return [f"signed by {name} with a hash that is not allowed"]
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        return [f"not signed by {name}"]
    except _LIBRARY_ERRORS as error:
        return [f"not signed by {name}: {escape(str(error))}"]
    return []


def _key_of(certificate: x509.Certificate) -> PublicKey | None:
    info = _subject_public_key_info(certificate.tbs_certificate_bytes)
    if info.startswith(SM2_SPKI):  # which the library does not load
        keys = Keys.of(Ragged.of([info]))
        return None if keys.rows["fault"][0] else public_key(keys)
    key = certificate.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        strong = key.key_size >= min(RSA_BITS) and numbers.e >= LEAST_EXPONENT and numbers.e % 2
        return RsaKey(numbers.n, numbers.e) if strong else None
    if isinstance(key, ec.EllipticCurvePublicKey) and (curve := curve_of(key)) is not None:
        point = key.public_numbers()
        return EccKey(curve.id, point.x, point.y)
    return None


def _subject_public_key_info(tbs: bytes) -> bytes:
    """The seventh element of a version 3 TBSCertificate: after version, serial, algorithm, issuer, times, subject."""
    at, _ = _element(tbs, 0, 0x30)
    for tag in (0xA0, 0x02, 0x30, 0x30, 0x30, 0x30):
        at = _element(tbs, at, tag)[1]
    return tbs[at : _element(tbs, at, 0x30)[1]]


def _element(data: bytes, at: int, tag: int) -> tuple[int, int]:
    """Where the contents of the DER element at an offset start and end; the tag must be this one."""
    if len(data) - at < 2 or data[at] != tag:
        raise ValueError("not DER")
    size, start = data[at + 1], at + 2
    if size >= 0x80:
        n = size & 0x7F
        field = data[start : start + n]
        size, start = int.from_bytes(field, "big"), start + n
        if not 1 <= n <= 3 or len(field) != n or size < 0x80 or field[0] == 0:
            raise ValueError("not DER: a length that is not minimal")
    if size > len(data) - start:
        raise ValueError("it ends too early")
    return start, start + size


@lru_cache(maxsize=1024)
def _load(der: bytes) -> x509.Certificate | None:
    """A certificate, or None where the bytes are none or more than one."""
    try:
        return x509.load_der_x509_certificate(der)
    except _LIBRARY_ERRORS:
        return None


def _error(words: str) -> EvidenceError:
    return EvidenceError("key.certificate", f"key.certificate: the certificate does not parse: {words}")
