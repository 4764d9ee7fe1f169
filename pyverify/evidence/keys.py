"""Public keys that sign quotes, as columns: TPM public areas with their Names, or bare keys in PEM or DER."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.algorithms import BANKS
from pyverify.evidence import tpm_names
from pyverify.evidence.columns import Ragged
from pyverify.evidence.curves import CURVES, SM2, Curve, curve_of
from pyverify.evidence.gather import first_equal, rows_at, slices
from pyverify.evidence.weak_generators import weakly_generated

_PEM: Final = re.compile(
    rb"\s*-----BEGIN PUBLIC KEY-----\s*([A-Za-z0-9+/=\s]+?)\s*-----END PUBLIC KEY-----\s*", re.ASCII
)
_PEM_LIMIT: Final = 8192  # bytes; a 4096-bit key has some 800

# SubjectPublicKeyInfo of an SM2 point, which `cryptography` cannot load, up to x and y (SPEC 11.3).
SM2_SPKI: Final = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004")

_VALUE: Final = _native.QUOTE_FAULTS["value"]
_BOUND: Final = _native.QUOTE_FAULTS["bound"]
_SCHEME: Final = _native.QUOTE_FAULTS["scheme"]
_MAX_NAME: Final = 2 + max(bank.size for bank in BANKS)  # bytes
_MAX_MODULUS: Final = 512  # bytes, as csrc/quote.h


def gather(
    items: Ragged, at: npt.NDArray[Any], size: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """The parts ``items[i][at[i]:at[i] + size[i]]`` as a ragged batch of their own: blob and offsets."""
    parts = slices(items.blob, items.offsets[:-1] + at, size.astype(np.int64))
    return parts.blob, parts.offsets


@dataclass(frozen=True, slots=True)
class Keys:
    """A batch of public keys, equal ones marked.

    ``rows`` are ``_native.PUBLIC_DTYPE`` of shape [n], with offsets into ``items``: look at ``fault`` first. A bare key
    has no attributes, no scheme and no Name: ``bare`` is bool of shape [n]. ``names`` are the TPM Names, nameAlg and
    digest, empty where there is none. ``same_as`` is uint32 of shape [n]: an equal key at or before each, which is its
    own equal.
    """

    items: Ragged
    rows: npt.NDArray[Any]
    bare: npt.NDArray[np.bool_]
    names: Ragged
    same_as: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def of(cls, publics: Ragged) -> Self:
        """Reads TPM2B_PUBLIC, TPMT_PUBLIC, and SubjectPublicKeyInfo in DER or PEM.

        Points that are not on their curve have the fault ``value``; items that are absent the fault of an empty one.
        """
        publics, bare_rows = _without_wrapping(publics)
        rows = _native.decode_publics(publics.blob, publics.offsets)
        bare = np.zeros(len(rows), np.bool_)
        for i, row in bare_rows.items():
            rows[i] = row
            bare[i] = True
        same_as = first_equal(publics).astype(np.uint32)
        # The numbers of a bare key say neither type nor curve nor exponent: each stands for itself.
        same_as = np.where(bare | bare[same_as], np.arange(len(rows), dtype=np.uint32), same_as)
        _check_points(publics, rows, same_as)
        return cls(publics, rows, bare, _names(publics, rows, bare), same_as)

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which keys were sent at all."""
        return self.items.present

    def weakly_generated(self) -> npt.NDArray[np.bool_]:
        """Which are RSA keys that a generator made whose keys can be broken: bool of shape [n]."""
        weak = np.zeros(len(self), np.bool_)
        numbers = np.arange(len(self), dtype=np.uint32)
        is_rsa = (self.rows["fault"] == 0) & (self.rows["type"] == tpm_names.RSA) & (self.same_as == numbers)
        for size in np.unique(self.rows["x_size"][is_rsa]).tolist():
            chosen = np.flatnonzero(is_rsa & (self.rows["x_size"] == size))
            at = self.items.offsets[chosen] + self.rows["x_at"][chosen]
            weak[chosen] = weakly_generated(rows_at(self.items.blob, at, size))
        return weak[self.same_as]

    def point(self, i: int) -> tuple[int, int]:
        """x and y of an ECC key; the modulus and 0 of an RSA key."""
        return _numbers(self.items[i], self.rows[i])


def _numbers(item: bytes, row: npt.NDArray[Any]) -> tuple[int, int]:
    x, y = (int.from_bytes(item[int(row[f"{name}_at"]) :][: int(row[f"{name}_size"])]) for name in "xy")
    return x, y


def name_of(public: bytes) -> bytes | None:
    """The Name of one TPM2B_PUBLIC or TPMT_PUBLIC: nameAlg and the hash of the TPMT_PUBLIC (SPEC 8.4).

    None for what is no such structure, and for bare keys in PEM or DER, which have no Name.
    """
    keys = Keys.of(Ragged.of([public]))
    return keys.names[0] or None


def _names(items: Ragged, rows: npt.NDArray[Any], bare: npt.NDArray[np.bool_]) -> Ragged:
    names = np.zeros((len(rows), _MAX_NAME), np.uint8)
    sizes = np.zeros(len(rows), np.int64)
    known = (rows["fault"] == 0) & ~bare
    for bank in BANKS:
        chosen = np.flatnonzero(known & (rows["name_hash"] == bank.id))
        if not len(chosen):
            continue
        size = np.zeros(len(rows), np.int64)
        size[chosen] = np.diff(items.offsets)[chosen] - rows["at"][chosen]
        blob, offsets = gather(items, rows["at"], size)
        starts = np.concatenate([offsets[:-1][chosen], offsets[-1:]])
        names[chosen, :2] = list(bank.id.to_bytes(2))
        names[chosen, 2 : 2 + bank.size] = _native.hash_messages(bank.index, blob, starts)
        sizes[chosen] = 2 + bank.size
    rows["fault"][known & ~np.isin(rows["name_hash"], [bank.id for bank in BANKS])] = _VALUE
    ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    return Ragged(names[np.arange(_MAX_NAME) < sizes[:, None]], ends, sizes > 0)


def _check_points(items: Ragged, rows: npt.NDArray[Any], same_as: npt.NDArray[np.uint32]) -> None:
    """Marks the points that are not on their curve: a library may compute with them all the same (SPEC 10.3, 75)."""
    points = (rows["fault"] == 0) & np.isin(rows["curve"], list(CURVES))
    own = np.flatnonzero(points & (same_as == np.arange(len(rows))))
    begins = items.offsets[own]
    x, y = (slices(items.blob, begins + rows[f"{n}_at"][own], rows[f"{n}_size"][own].astype(np.int64)) for n in "xy")
    numbers = zip(rows["curve"][own].tolist(), x.to_list(), y.to_list(), strict=True)
    on_curve = [CURVES[curve].contains(int.from_bytes(x), int.from_bytes(y)) for curve, x, y in numbers]
    off = own[~np.array(on_curve, np.bool_)]
    rows["fault"][off] = _VALUE
    rows["fault_at"][off] = rows["x_at"][off]
    copies = points & (same_as != np.arange(len(rows)))
    rows["fault"][copies] = rows["fault"][same_as[copies]]
    rows["fault_at"][copies] = rows["fault_at"][same_as[copies]]


def _without_wrapping(publics: Ragged) -> tuple[Ragged, dict[int, npt.NDArray[Any]]]:
    """Bare keys replaced by their numbers, x and y or the modulus, and their rows. Public areas stay as they are."""
    sizes = np.diff(publics.offsets)
    first = np.zeros(len(sizes), np.uint8)
    first[sizes > 0] = publics.blob[publics.offsets[:-1][sizes > 0]]
    # A public area begins with a size or a type below 0x0400; DER with a SEQUENCE, PEM with a line or a space.
    wrapped = np.flatnonzero(first >= 0x09)
    if not len(wrapped):
        return publics, {}
    items: list[bytes | None] = [publics[i] if publics.present[i] else None for i in range(len(publics))]
    rows = {}
    for i in wrapped.tolist():
        item = items[i] or b""
        row = np.zeros((), _native.PUBLIC_DTYPE)
        row["scheme"] = row["symmetric"] = tpm_names.NULL
        numbers = _bare_numbers(item, row)
        if numbers is None:
            row["fault"] = row["fault"] or _VALUE
        else:
            items[i] = numbers
        rows[i] = row
    return Ragged.of(items), rows


def _bare_numbers(item: bytes, row: npt.NDArray[Any]) -> bytes | None:
    """The numbers of a key in PEM or DER, described in ``row``; None for what is none."""
    if len(item) > _PEM_LIMIT:
        row["fault"] = _BOUND
        return None
    if match := _PEM.fullmatch(item):
        try:
            item = base64.b64decode(b"".join(match[1].split()), validate=True)
        except (binascii.Error, ValueError):
            return None
    if item.startswith(SM2_SPKI) and len(item) == len(SM2_SPKI) + 64:
        return _set_point(row, SM2, int.from_bytes(item[-64:-32]), int.from_bytes(item[-32:]))
    return _cryptography_numbers(item, row)


def _cryptography_numbers(der: bytes, row: npt.NDArray[Any]) -> bytes | None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        size = (numbers.n.bit_length() + 7) // 8
        if size > _MAX_MODULUS or numbers.e >> 32:
            row["fault"] = _BOUND
            return None
        row["type"], row["bits"], row["exponent"], row["x_size"] = tpm_names.RSA, key.key_size, numbers.e, size
        return numbers.n.to_bytes(size)
    if isinstance(key, ec.EllipticCurvePublicKey) and (curve := curve_of(key)) is not None:
        point = key.public_numbers()
        return _set_point(row, curve, point.x, point.y)
    row["fault"] = _SCHEME
    return None


def _set_point(row: npt.NDArray[Any], curve: Curve, x: int, y: int) -> bytes:
    row["type"], row["curve"] = tpm_names.ECC, curve.id
    row["x_size"] = row["y_size"] = row["y_at"] = curve.size
    return x.to_bytes(curve.size) + y.to_bytes(curve.size)
