"""Which attestation keys are whose, and how well that is founded (DESIGN section 5.8).

What is known of a key rises from *enrolled* (the operator says so) over *activated* (the TPM with a certain EK opened a
secret that was bound to the key's Name) to *certified* (that EK, or the key itself, has a certificate under a pinned
root). All of it is computed from one and the same public area: the one that is stored.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from pyverify.baseline import schema
from pyverify.baseline.frozen import enrolled_keys
from pyverify.baseline.identity import ALWAYS, EnrolledKey, KeyLevel, from_micros, in_micros, to_micros
from pyverify.baseline.store import Store
from pyverify.errors import StoreError, UsageError
from pyverify.evidence import public_area
from pyverify.evidence.certificates import Purpose, check_chain, public_key_of, read_certificates
from pyverify.evidence.columns import NAME_PATTERN
from pyverify.evidence.credential import SECRET_SIZE, make_credential
from pyverify.evidence.public_area import PublicArea
from pyverify.evidence.sm2 import Sm2Mode

_MACHINE: Final = re.compile(NAME_PATTERN)
_ACTIVATION_AGE: Final = datetime.timedelta(hours=24)
"""How long the answer to a credential may take: as long as that to a nonce (DESIGN section 5.7)."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What came of one key: ``is_new`` is false where its machine had it already."""

    key: EnrolledKey
    is_new: bool


class Enrollment:
    """The keys and pinned certificates of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def pin(self, certificates: Sequence[bytes], *, who: str | None = None, reason: str | None = None) -> int:
        """Pins certificates (DER) as ends of paths; those that are there already are left alone. How many were new."""
        rows = {hashlib.sha256(der).digest(): der for der in certificates}
        with self._store.changing("pin root", reason, who) as (connection, number):
            known = set(connection.scalars(sa.select(schema.root.c.key).where(schema.root.c.key.in_(list(rows)))))
            new = [{"key": k, "certificate": der, "change": number} for k, der in rows.items() if k not in known]
            if new:
                connection.execute(schema.root.insert(), new)
        return len(new)

    def roots(self) -> list[bytes]:
        """The pinned certificates, DER."""
        with self._store.reading() as connection:
            return list(connection.scalars(sa.select(schema.root.c.certificate).order_by(schema.root.c.key)))

    def enroll(
        self,
        machine: str,
        public: bytes,
        *,
        at: datetime.datetime,
        since: datetime.datetime | None = None,
        until: datetime.datetime | None = None,
        sm2_mode: Sm2Mode | None = None,
        level: KeyLevel = KeyLevel.ENROLLED,
        ak_certificates: Sequence[bytes] = (),
        ek_certificates: Sequence[bytes] = (),
        who: str | None = None,
        reason: str | None = None,
    ) -> Enrolled:
        """Enrols an attestation key for a machine, by the public area that its TPM gave.

        A key that its machine has already keeps its ``since``; its level never falls, and ``until``, ``sm2_mode`` and
        the EK's certificates replace the older ones where they are given.

        Args:
            machine: the operator's name for it.
            public: TPM2B_PUBLIC or TPMT_PUBLIC of the key.
            at: the time now, from the caller; certificates are judged at it.
            since: from when on the key is the machine's (default: always, so that a key that is enrolled today may
                have signed what an archive holds; when it was enrolled is in the record of changes).
            until: from when on it is no longer, None for no end.
            sm2_mode: what it signs, if it is an SM2 key (default: the digest of the attest).
            level: ``enrolled``, or ``first-use`` where nobody vouches for it.
            ak_certificates: the key's own certificate and what came with it, DER: they make it ``certified``.
            ek_certificates: those of the TPM's EK, for :meth:`challenge`: alone they say nothing about this key.

        Raises:
            EvidenceError: the public area does not parse.
            UsageError: the key may not attest (``key.attributes``), it can be broken (``key.denied``), a certificate
                does not hold (``key.certificate``), or it is another machine's (``key.shared``).
        """
        check_machine(machine)
        area = public_area.parse(public)
        if faults := public_area.attestation_key_faults(area):
            raise UsageError(f"key.attributes: this key may not attest: {', '.join(faults)}")
        if public_area.is_weakly_generated(area):
            raise UsageError("key.denied: keys of this generator can be broken (CVE-2017-15361): update the TPM")
        if ak_certificates:
            self._require_chain(ak_certificates, "ak", area.key, at)
            level = KeyLevel.CERTIFIED
        if ek_certificates:
            self._require_chain(ek_certificates, "ek", _endorsement_key(ek_certificates), at)
        row = {
            "ak_name": area.name,
            "machine": machine,
            "since": to_micros(since or ALWAYS),
            "until": None if until is None else to_micros(until),
            "level": str(level),
            "sm2_mode": None if sm2_mode is None else str(sm2_mode),
            "public": area.data,
            "ek_certificates": b"".join(ek_certificates) or None,
        }
        return self._add(row, who, reason)

    def _add(self, row: dict[str, Any], who: str | None, reason: str | None) -> Enrolled:
        with self._store.changing("enroll", reason, who) as (connection, number):
            found = _find(connection, row["ak_name"])
            _check_span(row["since"] if found is None else found.since, row["until"])
            if found is None:
                fixed = {name: row[name] for name in ("ak_name", "machine", "since", "public")}
                connection.execute(schema.enrolled.insert().values(**fixed, change=number))
                row = {**row, "sm2_mode": row["sm2_mode"] or str(Sm2Mode.DIGEST)}
                _add_state(connection, number, row, {})
                return Enrolled(_key(_find(connection, row["ak_name"])), True)
            if found.machine != row["machine"]:
                raise UsageError(
                    f"key.shared: this key is enrolled for {found.machine}, so it cannot be {row['machine']}'s too; "
                    "a machine that was renamed makes itself a new attestation key"
                )
            changed = {name: row[name] for name in ("until", "sm2_mode", "ek_certificates") if row[name] is not None}
            if KeyLevel(row["level"]).rank > KeyLevel(found.level).rank:
                changed["level"] = row["level"]
            if any(getattr(found, name) != value for name, value in changed.items()):
                _add_state(connection, number, found._asdict(), changed)
            return Enrolled(_key(_find(connection, row["ak_name"])), False)

    def keys(self, machine: str | None = None) -> list[EnrolledKey]:
        """The enrolled keys of a machine, or of all, past and present."""
        table = schema.enrolled
        query = enrolled_keys().order_by(None).order_by(table.c.machine, table.c.since, table.c.ak_name)
        with self._store.reading() as connection:
            rows = connection.execute(query if machine is None else query.where(table.c.machine == machine))
            return [_key(row) for row in rows]

    def challenge(self, machine: str, ek_public: bytes, ak_public: bytes, *, at: datetime.datetime) -> bytes:
        """A credential for one of a machine's keys, as ``tpm2_activatecredential -i`` takes it.

        Key, Name, attributes and, where a certificate of the EK was enrolled, its key are all of these very bytes:
        mixing unrelated ones is the classic mistake (SPEC section 8.4, attack 82).

        Raises:
            EvidenceError: a public area does not parse.
            UsageError: the key is not enrolled for the machine, the EK is none, or not the one that was certified.
        """
        ek, ak = public_area.parse(ek_public), public_area.parse(ak_public)
        with self._store.reading() as connection:
            row = _find(connection, ak.name)
        if row is None or row.machine != machine or not _key(row).holds_at(at):
            raise UsageError(f"key.unknown: this key is not enrolled for {machine}: {ak.name.hex()}")
        self._require_own(machine, ek.name, at)
        is_certified = self._is_certified(row.ek_certificates, ek, at)
        secret = secrets.token_bytes(SECRET_SIZE)
        blob = make_credential(ek_public, ak.name, secret)
        with self._store.changing("credential") as (connection, number):
            values = {
                "secret": hashlib.sha256(secret).digest(),
                "ak_name": ak.name,
                "ek_name": ek.name,
                "certified": int(is_certified),
                "issued_at": to_micros(at),
                "change": number,
            }
            connection.execute(schema.activation.insert().values(values))
        return blob

    def _require_own(self, machine: str, ek_name: bytes, at: datetime.datetime) -> None:
        """One TPM is in one machine: its EK must not stand behind a key that another machine has now."""
        key, asked, answered = schema.enrolled, schema.activation, schema.activated
        query = (
            enrolled_keys()
            .join(asked, asked.c.ak_name == key.c.ak_name)
            .join(answered, answered.c.secret == asked.c.secret)
            .where(asked.c.ek_name == ek_name, key.c.machine != machine)
        )
        with self._store.reading() as connection:
            others = sorted({k.machine for row in connection.execute(query) if (k := _key(row)).holds_at(at)})
        if others:
            raise UsageError(f"key.shared: the TPM with this endorsement key is {others[0]}'s")

    def _is_certified(self, ek_certificates: bytes | None, ek: PublicArea, at: datetime.datetime) -> bool:
        if ek_certificates is None:
            return False
        self._require_chain(read_certificates(ek_certificates), "ek", ek.key, at)
        return True

    def _require_chain(
        self, certificates: Sequence[bytes], purpose: Purpose, key: public_area.PublicKey, at: datetime.datetime
    ) -> None:
        leaf, *others = certificates
        if faults := check_chain(leaf, others, self.roots(), at=at, purpose=purpose, key=key):
            raise UsageError(f"key.certificate: the {purpose.upper()} certificate does not hold: {'; '.join(faults)}")

    def answer(
        self, machine: str, secret: bytes, *, at: datetime.datetime, who: str | None = None
    ) -> EnrolledKey | None:
        """Takes what a machine's TPM got out of a credential; its key is ``activated`` or ``certified`` from then on.

        Returns:
            The key, or None where the secret is not one that this machine was sent, was answered before, or comes
            too late.
        """
        asked, answered, now = schema.activation, schema.activated, to_micros(at)
        # The database compares digests of secrets: how long that takes says nothing about a secret.
        digest = hashlib.sha256(secret).digest()
        with self._store.reading() as connection:
            row = connection.execute(sa.select(asked).where(asked.c.secret == digest)).first()
            enrolled = None if row is None else _find(connection, row.ak_name)
        if row is None or enrolled is None or enrolled.machine != machine:
            return None
        if not 0 <= now - row.issued_at <= in_micros(_ACTIVATION_AGE):
            return None
        level = KeyLevel.CERTIFIED if row.certified else KeyLevel.ACTIVATED
        reason = f"credential activation of {row.ak_name.hex()}"
        with self._store.changing(str(level), reason, who) as (connection, number):
            if connection.execute(sa.select(answered).where(answered.c.secret == digest)).first() is not None:
                return None  # perhaps at this moment
            connection.execute(answered.insert().values(secret=digest, at=now, change=number))
            found = _find(connection, row.ak_name)
            if level.rank > KeyLevel(found.level).rank:
                _add_state(connection, number, found._asdict(), {"level": str(level)})
            return _key(_find(connection, row.ak_name))


def check_machine(machine: str) -> None:
    """Raises UsageError where a machine may not be called so (DESIGN section 5.8)."""
    if _MACHINE.fullmatch(machine) is None:
        raise UsageError(f"{machine!r} is no machine name: 1 to 128 letters, digits, dots, underscores and hyphens")


def _endorsement_key(certificates: Sequence[bytes]) -> public_area.PublicKey:
    key = public_key_of(certificates[0])
    if key is None:
        raise UsageError("key.certificate: the EK's certificate is for a key that is weak or of an unknown kind")
    return key


def _check_span(since: int, until: int | None) -> None:
    if since < 0 or (until is not None and until <= since):
        raise UsageError("a key cannot begin before 1970 or end before it begins")


def _find(connection: sa.Connection, ak_name: bytes) -> Any:
    return connection.execute(enrolled_keys().where(schema.enrolled.c.ak_name == ak_name)).first()


def _add_state(connection: sa.Connection, number: int, known: dict[str, Any], changed: dict[str, Any]) -> None:
    """What is known of a key from this change on."""
    names = ("ak_name", "until", "level", "sm2_mode", "ek_certificates")
    values = {**{name: known[name] for name in names}, **changed, "change": number}
    connection.execute(schema.key_state.insert().values(values))


def _key(row: Any) -> EnrolledKey:
    try:
        until = None if row.until is None else from_micros(row.until)
        level, sm2_mode = KeyLevel(row.level), Sm2Mode(row.sm2_mode)
        return EnrolledKey(row.ak_name, row.machine, from_micros(row.since), until, level, sm2_mode)
    except (ValueError, TypeError, OverflowError) as error:
        raise StoreError(f"the store contradicts itself: a key of {row.machine!r} is damaged: {error}") from error
