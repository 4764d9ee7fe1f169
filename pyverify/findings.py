"""The one table of findings: code, severity and effect of every reason that a verdict can give.

Codes are an interface: scripts and dashboards hang on them. A code is added here, with its row, or it does not exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Severity(StrEnum):
    """How much a finding weighs. ``POLICY`` stands in the table only: a rule of the policy sets it."""

    HIGH = "high"
    WARNING = "warning"
    INFO = "info"
    POLICY = "policy"


WEIGHTS: Final = {Severity.HIGH: 0, Severity.WARNING: 1, Severity.INFO: 2}
"""The order in which findings are told, the weightiest first."""


class Effect(StrEnum):
    """What a code makes of the verdict, beyond what its severity says."""

    NONE = "none"
    ERROR = "error"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True, slots=True)
class Code:
    """One row of the table."""

    name: str
    severity: Severity
    when: str
    effect: Effect = Effect.NONE


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason, as a verdict gives it.

    ``expected`` and ``actual`` are digests or PCR values; ``hint`` says in words what it is and what to do, with all
    text of the evidence escaped.
    """

    code: str
    severity: Severity
    hint: str
    pcr: int | None = None
    bank: str | None = None
    event: int | None = None
    expected: bytes | None = None
    actual: bytes | None = None


_TABLE: Final = (
    # Log faults
    Code("log.not-a-log", Severity.HIGH, "not a TCG log at all; CEL or CCEL given as another kind", Effect.ERROR),
    Code(
        "log.truncated",
        Severity.HIGH,
        "ends inside an entry (a cut between two entries shows as separator.missing or a mismatch)",
        Effect.ERROR,
    ),
    Code("log.header", Severity.HIGH, "Spec ID event: wrong index, digest, size, version, vendor info", Effect.ERROR),
    Code(
        "log.algorithms",
        Severity.HIGH,
        "zero, too many, duplicate, or wrongly sized algorithms in the header",
        Effect.ERROR,
    ),
    Code(
        "log.digests",
        Severity.HIGH,
        "an event names an unlisted or repeated algorithm, or too many digests",
        Effect.ERROR,
    ),
    Code("log.event-size", Severity.HIGH, "event size past the end", Effect.ERROR),
    Code("log.pcr-index", Severity.HIGH, "PCR above 23 in an event that is extended", Effect.ERROR),
    Code("log.trailing", Severity.HIGH, "bytes after padding, or mixed padding", Effect.ERROR),
    Code("log.too-large", Severity.HIGH, "more events or bytes than the stated limits", Effect.ERROR),
    Code("ima.format", Severity.HIGH, "IMA list: framing", Effect.ERROR),
    Code("ima.truncated", Severity.HIGH, "IMA list: ends inside an entry", Effect.ERROR),
    Code("ima.endianness", Severity.HIGH, "IMA list: of the other byte order", Effect.ERROR),
    Code("ima.template", Severity.HIGH, "IMA list: unknown template", Effect.ERROR),
    Code("cel.format", Severity.HIGH, "TLV, JSON or JSON-seq that does not parse strictly", Effect.ERROR),
    Code("cel.numbering", Severity.WARNING, "numbers of a canonical log's records that repeat, go back or are missing"),
    Code(
        "quote.format",
        Severity.HIGH,
        "attest, signature or public area not exactly consumed, out of bounds, wrong curve or point",
        Effect.ERROR,
    ),
    Code(
        "evidence.duplicate",
        Severity.HIGH,
        "two archive members with one name (other bytes of one boot are another sample, not a duplicate)",
        Effect.ERROR,
    ),
    Code(
        "evidence.unreadable",
        Severity.HIGH,
        "member missing, unreadable, changed while read, over the limits",
        Effect.ERROR,
    ),
    Code("evidence.name", Severity.HIGH, "machine or boot name outside its alphabet", Effect.ERROR),
    # Nothing to judge
    Code("evidence.absent", Severity.INFO, "an expected machine sent nothing", Effect.UNMEASURED),
    Code(
        "log.absent", Severity.INFO, "no log, or an empty one (with a baseline: also evidence.lost)", Effect.UNMEASURED
    ),
    Code("baseline.absent", Severity.INFO, "no baseline to compare with yet", Effect.UNMEASURED),
    Code("baseline.pending", Severity.INFO, "the baseline is not active yet", Effect.UNMEASURED),
    # Evidence against itself
    Code(
        "evidence.lost",
        Severity.HIGH,
        "a machine with an active baseline sends no or broken evidence (verdict stays unmeasured or error)",
    ),
    Code("replay.mismatch", Severity.HIGH, "replay differs from an authentic PCR value"),
    Code("replay.prefix", Severity.INFO, "the log explains a proper prefix; named source explains the rest"),
    Code("replay.unexplained", Severity.HIGH, "a compared PCR holds more than all sources explain"),
    Code("replay.start", Severity.HIGH, "StartupLocality or H-CRTM twice, late, in another PCR, illegal value"),
    Code(
        "bank.missing",
        Severity.HIGH,
        "log lacks a bank it had when the baseline was learned, or quote lacks a required one",
    ),
    Code("bank.unextended", Severity.HIGH, "firmware never extended this bank (Carte Blanche)"),
    Code(
        "bank.weak",
        Severity.POLICY,
        "only banks below the policy's strength; default, archive: high; log-only: warning",
    ),
    Code("bank.capped", Severity.WARNING, "a bank closed by the OS with a known value; unusable, not tampering"),
    Code("event.data-mismatch", Severity.HIGH, "data of a class A or B event does not hash to its digest"),
    Code(
        "event.data-known-deviation",
        Severity.WARNING,
        "the same, with a deviation known by name (a table in code; never in PCR 7)",
    ),
    Code("event.undecodable", Severity.WARNING, "structure does not fit (high in PCR 7)"),
    Code("event.type-unexpected", Severity.WARNING, "type not allowed in this PCR (high in PCR 7)"),
    Code("event.no-action-digest", Severity.WARNING, "EV_NO_ACTION with a digest"),
    Code(
        "event.after-exit-boot-services",
        Severity.HIGH,
        "firmware PCR measured after ExitBootServices, other than its own result strings and retries in PCR 5",
    ),
    Code("event.duplicate-header", Severity.WARNING, "second Spec ID event"),
    Code("separator.missing", Severity.HIGH, "no separator in one of PCR 0-7"),
    Code("separator.duplicate", Severity.HIGH, "a second separator in a PCR"),
    Code(
        "separator.disguised",
        Severity.HIGH,
        "a separator's digest under another event, or a separator with another digest",
    ),
    Code("separator.error", Severity.HIGH, "an error separator"),
    Code("log.padding", Severity.INFO, "padding bytes and how many"),
    # Secure Boot
    Code(
        "secureboot.disabled",
        Severity.POLICY,
        "SecureBoot = 0 or not initialised; info in the presets, high where required (a change shows in PCR 7)",
    ),
    Code("secureboot.ambiguous", Severity.HIGH, "wrong GUID or name, duplicate, order, changed during boot"),
    Code(
        "secureboot.authority",
        Severity.HIGH,
        "firmware db authority not in the measured db; SbatLevel is none, Shim and Mok* are info unprovable (MOK contents are in no log; the baseline pins them)",
    ),
    Code("secureboot.shim-off", Severity.HIGH, "MokSBState says shim does not verify"),
    Code(
        "secureboot.revocations-old",
        Severity.POLICY,
        "dbx or SBAT level below the minimum; off until a minimum is set, then high",
    ),
    Code("secureboot.debug", Severity.HIGH, "UEFI debug mode, DMA protection off"),
    # IMA
    Code("ima.template-mismatch", Severity.HIGH, "template digest does not fit the data"),
    Code(
        "ima.violation",
        Severity.POLICY,
        "a violation entry, its name never used; warning with the count where the learning boots had some, else high",
    ),
    Code("ima.relabelled", Severity.HIGH, "entry read under a template that its name may not have"),
    Code("ima.pcr", Severity.HIGH, "entries for a PCR that is not quoted"),
    Code(
        "ima.boot-aggregate",
        Severity.HIGH,
        "missing, not first, or not matching the replayed PCRs (all zeros on a TPM without a usable bank: info)",
    ),
    Code(
        "ima.empty",
        Severity.HIGH,
        "no list or no entries where the baseline has an IMA set, or the policy a runtime policy",
    ),
    Code("ima.shrunk", Severity.HIGH, "fewer entries than before in the same boot"),
    Code("ima.tail-unverified", Severity.INFO, "entries after the quoted prefix"),
    Code("ima.padded", Severity.WARNING, "bank extended with zero-padded SHA-1"),
    Code("ima.weak-hash", Severity.WARNING, "file digest by MD5 or SHA-1, or of the wrong length"),
    Code("ima.changed", Severity.HIGH, "known path with another digest"),
    Code(
        "ima.added",
        Severity.POLICY,
        "path not in the baseline; high in the presets, info where approved in the cohort or signed by a policy key",
    ),
    Code(
        "ima.signature",
        Severity.POLICY,
        "signature missing, by an unknown key, or wrong; off until keys are set, then high",
    ),
    Code("ima.kexec", Severity.HIGH, "a kexec happened (second boot_aggregate, kexec_* entry) or broke the list"),
    # Quote and keys
    Code("quote.missing", Severity.HIGH, "policy needs a quote, there is none"),
    Code("quote.signature", Severity.HIGH, "does not verify"),
    Code("quote.type", Severity.HIGH, "magic or type is not a quote"),
    Code("quote.nonce", Severity.HIGH, "differs from the ledger"),
    Code(
        "quote.unfresh",
        Severity.POLICY,
        "no ledger entry, not the newest challenge, or older than max_age; default: high, archive: info",
    ),
    Code("quote.ignored", Severity.INFO, "log-only does not judge quotes"),
    Code("quote.replayed", Severity.HIGH, "nonce used with another attest"),
    Code("quote.selection", Severity.HIGH, "compared PCRs or banks not selected, empty selection"),
    Code("quote.digest", Severity.HIGH, "pcrDigest matches neither the values beside it nor the replay"),
    Code("quote.scheme", Severity.HIGH, "scheme or hash not the key's, or not allowed"),
    Code("quote.clock", Severity.HIGH, "clock or counters went back"),
    Code("quote.firmware-changed", Severity.INFO, "firmwareVersion differs from the last"),
    Code("key.unknown", Severity.HIGH, "not enrolled for this machine"),
    Code("key.shared", Severity.HIGH, "one key, two machines"),
    Code("key.attributes", Severity.HIGH, "not restricted, signing, fixed to the TPM"),
    Code("key.weak", Severity.HIGH, "size, exponent or curve below policy"),
    Code("key.certificate", Severity.HIGH, "chain, purpose, time, or key does not fit"),
    Code("key.first-use", Severity.POLICY, "trusted on first use only; high unless the policy's key is first-use"),
    Code("key.denied", Severity.HIGH, "model on the deny list: of a generator whose keys can be broken"),
    # Baseline
    Code("baseline.event-added", Severity.HIGH, "an event that the baseline does not have"),
    Code("baseline.event-removed", Severity.HIGH, "an event of the baseline is not there"),
    Code("baseline.event-changed", Severity.HIGH, "an event has another digest than in the baseline"),
    Code("baseline.event-moved", Severity.HIGH, "an event is at another place than in the baseline"),
    Code("baseline.pcr", Severity.HIGH, "value differs and no event explains it"),
    Code("baseline.reported", Severity.INFO, "a reported-only PCR (1, 5, 6) differs"),
    Code("baseline.rolled-back", Severity.HIGH, "a superseded value came back"),
    Code("baseline.expired", Severity.HIGH, "allowed only until a date that has passed"),
    Code("baseline.accepted", Severity.INFO, "an exception stored with the baseline (--accept)"),
    Code("baseline.learned-here", Severity.INFO, "this boot is what the baseline was learned from"),
    Code("baseline.approved", Severity.INFO, "differs from the first version, as approved by …"),
    Code("baseline.ignored", Severity.HIGH, "alert silenced; still untrusted"),
    Code("store.tampered", Severity.HIGH, "history does not verify", Effect.ERROR),
    Code("store.rolled-back", Severity.HIGH, "history is older than the anchor", Effect.ERROR),
    Code("policy.rule", Severity.POLICY, "a rule of the policy by name"),
)

CODES: Final[dict[str, Code]] = {code.name: code for code in _TABLE}
