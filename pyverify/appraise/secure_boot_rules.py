"""What a policy asks of Secure Boot beyond what is wrong on any machine (section ``[secure_boot]`` of a policy)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from pyverify.appraise.secure_boot_state import SecureBoot
from pyverify.evidence.sbat import SbatRow, sbat_at_least
from pyverify.evidence.signature_databases import Signature, dbx_covers
from pyverify.findings import Finding, Severity

_PCR: Final = 7


@dataclass(frozen=True, slots=True)
class Allowances:
    """What SPEC section 5.2 leaves to policy. Nothing of it is allowed unless said so."""

    empty_dbx: bool = False
    """Secure Boot may be on with a dbx that revokes nothing."""
    dma_protection_off: bool = False
    """Devices may have had access to memory before the operating system: told as info."""
    separator_of_ones: bool = False
    """PCR 7's separator may be FFFFFFFF."""


STRICT: Final = Allowances()


@dataclass(frozen=True, slots=True)
class MinimumDbx:
    """Entries that every dbx must have. Where they were read from is for people: it is no part of the rule."""

    entries: frozenset[Signature]
    file: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class SecureBootRules:
    """The rules of a policy. Equal rules judge alike, so findings may be kept by them."""

    required: bool = False
    """Secure Boot must be proven to be on."""
    minimum_dbx: MinimumDbx | None = None
    minimum_sbat: tuple[SbatRow, ...] = ()
    """The generation that shim's SbatLevel must give each of these components, or a later one."""
    allow: Allowances = STRICT

    @property
    def asks(self) -> bool:
        """Whether anything must be proven."""
        return self.required or self.minimum_dbx is not None or bool(self.minimum_sbat)

    def judge(self, boot: SecureBoot) -> Iterator[Finding]:
        """The findings of a boot under these rules. What its log does not show does not hold."""
        off = self.required and boot.state in ("disabled", "not-initialised")
        for finding in boot.findings:
            if off and finding.code == "secureboot.disabled":
                words = f"{finding.hint}, and [secure_boot] required wants it on"
                yield replace(finding, severity=Severity.HIGH, hint=words)
            else:
                yield finding
        if self.required and not off and not boot.enabled:
            words = f"the log does not prove that Secure Boot was on: its state is {boot.state}"
            if boot.state == "enabled":
                words = "Secure Boot says that it is on, and other events of PCR 7 speak against it"
            yield Finding("policy.rule", Severity.HIGH, f"[secure_boot] required: {words}", pcr=_PCR)
        yield from self._revocations(boot)

    def unseen(self) -> Iterator[Finding]:
        """The findings of a log of measurement registers, in which Secure Boot is not looked for (SPEC 2.5)."""
        rules = {
            "required": self.required,
            "minimum_dbx": self.minimum_dbx is not None,
            "minimum_sbat": bool(self.minimum_sbat),
        }
        for name, set_ in rules.items():
            if set_:
                words = f"[secure_boot] {name}: measurement registers are not judged for Secure Boot"
                yield Finding("policy.rule", Severity.HIGH, words)

    def _revocations(self, boot: SecureBoot) -> Iterator[Finding]:
        code = "secureboot.revocations-old"
        if self.minimum_dbx is not None and not dbx_covers(boot.dbx or (), self.minimum_dbx.entries):
            words = "no dbx was measured" if boot.dbx is None else "dbx lacks entries that it must have"
            yield Finding(code, Severity.HIGH, f"[secure_boot] minimum_dbx: {words}", pcr=_PCR)
        old = [row for row in self.minimum_sbat if not sbat_at_least(boot.sbat_level, {row.component: row.generation})]
        if old:
            wanted = " and ".join(f"{component},{generation}" for component, generation in old)
            words = "no SbatLevel was measured" if boot.sbat_level is None else "shim's SbatLevel is older"
            hint = f"[secure_boot] minimum_sbat wants {wanted}: {words}"
            yield Finding(code, Severity.HIGH, hint, pcr=_PCR, event=boot.sbat_event)


NO_RULES: Final = SecureBootRules()
"""Nothing is allowed, and nothing asked for beyond what holds on any machine."""

PRESET_RULES: Final = SecureBootRules(allow=Allowances(empty_dbx=True))
"""Those of the preset ``default``, for who looks at one log: reading policies takes as long as that."""
