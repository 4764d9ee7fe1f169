"""A TPM of a few lines: PCRs that are extended with hashlib, attestation keys of every kind, quotes of them (SPEC 8).

It shares no code with the package: PCR values are those of ``conftest.replay_by_hand``, structures are built by
``quote_data``, signatures are made by ``cryptography``, those of SM2 by ``gmssl``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache

from conftest import ALGORITHMS, hash_of, replay_by_hand
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from quote_data import ecc_public, rsa_public, selections, serialized, signature, sized

# Scheme and hash (TPM_ALG_ID), and the hash by the name of its bank.
KINDS = {
    "rsassa": (0x14, "sha256"),
    "rsapss": (0x16, "sha256"),
    "ecdsa_p256": (0x18, "sha256"),
    "ecdsa_p384": (0x18, "sha384"),
    "sm2": (0x1B, "sm3_256"),
}
_HASHES = {"sha1": hashes.SHA1, "sha256": hashes.SHA256, "sha384": hashes.SHA384, "sha512": hashes.SHA512}
_CURVES = {"ecdsa_p256": (ec.SECP256R1(), 3, 32), "ecdsa_p384": (ec.SECP384R1(), 4, 48)}
_SM2_CURVE = 0x20
RESTRICTED = 0x50072
"""TPMA_OBJECT of an attestation key: restricted, sign, fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth."""

Selection = Sequence[tuple[str, Sequence[int]]]
"""Banks with their PCRs, in the order in which the TPM lists them."""


@dataclass(frozen=True)
class SentQuote:
    """What a collector sends of a quote: the fields of ``pyverify.evidence.bundle.Quote``."""

    msg: bytes
    sig: bytes
    ak_pub: bytes
    pcrs: bytes | None


@dataclass(frozen=True)
class Key:
    """An attestation key: ``public`` is its TPMT_PUBLIC, ``private`` what its library signs with."""

    kind: str
    public: bytes
    private: object

    @property
    def name(self) -> bytes:
        """Its Name (SPEC 8.4)."""
        return self.public[2:4] + hashlib.sha256(self.public).digest()

    def digest(self, message: bytes) -> bytes:
        """The hash of its scheme."""
        return hash_of(KINDS[self.kind][1], message)

    def sign(self, message: bytes, *, hash_name: str | None = None, scheme: int | None = None) -> bytes:
        """The TPMT_SIGNATURE over a message; other hashes and schemes are for forgers."""
        own_scheme, own_hash = KINDS[self.kind]
        name = hash_name or own_hash
        head = (scheme or own_scheme, ALGORITHMS[name][0])
        digest = hash_of(name, message)
        if self.kind == "sm2":
            return signature(*head, *_sm2_sign(self.private, digest))
        algorithm = utils.Prehashed(_HASHES[name]())
        if self.kind.startswith("rsa"):
            pss = padding.PSS(padding.MGF1(_HASHES[name]()), len(digest))
            pad = pss if head[0] == 0x16 else padding.PKCS1v15()
            return signature(*head, self.private.sign(digest, pad, algorithm))
        size = _CURVES[self.kind][2]
        r, s = utils.decode_dss_signature(self.private.sign(digest, ec.ECDSA(algorithm)))
        return signature(*head, r.to_bytes(size), s.to_bytes(size))

    def sign_za(self, message: bytes, *, identity: bytes = b"1234567812345678") -> bytes:
        """An SM2 signature over SM3(ZA || message), as GB/T 32918 has it and TPMs do not (SPEC 8.3)."""
        from gmssl.sm2 import default_ecc_table as table

        numbers = bytes.fromhex(table["a"] + table["b"] + table["g"])
        point = self.public[-66:-34] + self.public[-32:]
        za = hash_of("sm3_256", struct.pack(">H", 8 * len(identity)) + identity + numbers + point)
        return signature(0x1B, 0x12, *_sm2_sign(self.private, hash_of("sm3_256", za + message)))


def _sm2_sign(private: str, digest: bytes) -> tuple[bytes, bytes]:
    """r and s over a digest, without ZA (SPEC 8.3), with a number that depends on both as RFC 6979 has it in spirit."""
    from gmssl.sm2 import CryptSM2

    once = hashlib.sha256(private.encode() + digest).hexdigest()
    pair = CryptSM2(private_key=private, public_key="").sign(digest, once)
    return bytes.fromhex(pair[:64]), bytes.fromhex(pair[64:])


def rsa_key(kind: str, bits: int, exponent: int = 65537, attributes: int = RESTRICTED) -> Key:
    """An RSA key of any strength."""
    private = rsa.generate_private_key(exponent, bits)
    modulus = private.public_key().public_numbers().n.to_bytes(bits // 8)
    scheme = struct.pack(">HH", KINDS[kind][0], ALGORITHMS[KINDS[kind][1]][0])
    stated = 0 if exponent == 65537 else exponent
    return Key(kind, rsa_public(modulus, scheme=scheme, exponent=stated, attributes=attributes), private)


@cache
def key(kind: str, owner: str = "m") -> Key:
    """The attestation key of this kind that an owner's TPM made; the same for the whole run of tests."""
    if kind.startswith("rsa"):
        return rsa_key(kind, 2048)
    scheme = struct.pack(">HH", KINDS[kind][0], ALGORITHMS[KINDS[kind][1]][0])
    if kind == "sm2":
        from gmssl.sm2 import CryptSM2, default_ecc_table

        private = hashlib.sha256(b"sm2 " + owner.encode()).hexdigest()
        point = bytes.fromhex(
            CryptSM2(private_key=private, public_key="")._kg(int(private, 16), default_ecc_table["g"])
        )
        return Key(kind, ecc_public(point[:32], point[32:], curve=_SM2_CURVE, scheme=scheme), private)
    curve, number, size = _CURVES[kind]
    private = ec.derive_private_key(int.from_bytes(hashlib.sha256(kind.encode() + owner.encode()).digest()), curve)
    point = private.public_key().public_numbers()
    return Key(kind, ecc_public(point.x.to_bytes(size), point.y.to_bytes(size), curve=number, scheme=scheme), private)


def marshalled(selection: Selection) -> bytes:
    """A TPML_PCR_SELECTION with bitmaps of three bytes."""
    bitmaps = [(ALGORITHMS[bank][0], sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")) for bank, pcrs in selection]
    return selections(*bitmaps)


@dataclass
class Tpm:
    """A TPM after a boot. ``pcrs`` are by bank and number; the counters and the clock are what its quotes state."""

    pcrs: dict[str, dict[int, bytes]]
    owner: str = "m"
    clock: int = 1_000
    reset_count: int = 7
    restart_count: int = 0
    safe: int = 1
    firmware: int = 0x1000200030004
    signer: bytes = field(default=b"\0\x0b" + bytes(32), repr=False)

    @classmethod
    def booted(cls, log: bytes, **facts: object) -> Tpm:
        """A TPM that the firmware of this (crypto-agile) log has extended."""
        return cls(replay_by_hand(log), **facts)

    def extend(self, pcr: int, data: bytes) -> None:
        """Extends a PCR in all banks with the digests of some data."""
        for bank, values in self.pcrs.items():
            values[pcr] = hash_of(bank, values[pcr] + hash_of(bank, data))

    def values(self, selection: Selection) -> list[bytes]:
        """The selected values, in the order of the selection, PCRs upward (SPEC 8.1)."""
        return [self.pcrs[bank][pcr] for bank, pcrs in selection for pcr in sorted(pcrs)]

    def attest(
        self,
        selection: Selection,
        nonce: bytes,
        ak: Key,
        *,
        magic: int = 0xFF544347,
        kind: int = 0x8018,
        **parts: bytes,
    ) -> bytes:
        """A TPMS_ATTEST of the selected PCRs. ``parts`` (``listed``, ``digest``, ``tail``) are for forgers."""
        head = struct.pack(">IH", magic, kind) + sized(self.signer) + sized(nonce)
        head += struct.pack(">QIIBQ", self.clock, self.reset_count, self.restart_count, self.safe, self.firmware)
        chosen = parts.get("listed", marshalled(selection))
        digest = parts.get("digest", ak.digest(b"".join(self.values(selection))))
        return head + chosen + sized(digest) + parts.get("tail", b"")

    def quote(
        self,
        selection: Selection,
        nonce: bytes,
        kind: str | Key = "ecdsa_p256",
        *,
        beside: bool = True,
        **parts: object,
    ) -> SentQuote:
        """A quote by the key of this kind, or a given one, with the PCR values beside it as tpm2_quote writes them."""
        ak = key(kind, self.owner) if isinstance(kind, str) else kind
        message = self.attest(selection, nonce, ak, **parts)
        return SentQuote(message, ak.sign(message), ak.public, serialized(self.values(selection)) if beside else None)
