"""What PCR 7 and 14 of one boot come to: the state of Secure Boot, its databases, and what speaks against them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pyverify.appraise.secure_boot_events import Authority
from pyverify.evidence.sbat import SbatRow
from pyverify.evidence.signature_databases import Signature
from pyverify.findings import Finding

State = Literal["enabled", "disabled", "not-initialised", "ambiguous", "unknown"]
Database = tuple[Signature, ...] | None


@dataclass(frozen=True, slots=True)
class SecureBoot:
    """What PCR 7 and 14 say of one boot. A database is None where none was measured, or none that can be read."""

    enabled: bool
    """True only if every rule of SPEC section 5.2 holds."""
    state: State
    """What the SecureBoot variable says: ``ambiguous`` where the events can be read in more than one way, ``unknown``
    where no such variable was measured (a BIOS, or firmware that leaves it out)."""
    event: int | None
    """Number of the event that measured the SecureBoot variable."""
    pk: Database
    kek: Database
    db: Database
    dbx: Database
    dbt: Database
    dbr: Database
    authorities: tuple[Authority, ...]
    """What images were verified by, in order."""
    shim_validates: bool | None
    """Whether shim verifies what it starts (MokSBState); None where no shim ran. It is no part of ``enabled``."""
    mok_list: dict[str, bytes]
    """Digests by bank of what PCR 14 calls MokList: its content is in no log, and the name is a hint."""
    mok_list_x: dict[str, bytes]
    """The same of MokListX."""
    sbat_level: str | None
    """shim's SbatLevel as measured; None where there is none that can be read."""
    sbat_rows: tuple[SbatRow, ...]
    sbat_event: int | None
    """Number of the event that measured it."""
    debug: bool
    """The firmware was in its debug mode."""
    dma_protection_off: bool
    """Protection against devices' access to memory was off or weakened."""
    findings: tuple[Finding, ...]
