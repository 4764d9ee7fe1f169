"""In what honest boots of one kind of machine differ: the rules by which boots are put into one form and compared.

Everything that no rule names counts, by its digest. A digest cannot be normalised (SPEC section 4.8): a rule that looks
at text takes only text that the event's digest proves. Where text that is not proven, the digest counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

from pyverify.algorithms import PCRS, pcr_mask, pcrs_of
from pyverify.evidence.ccel import CCEL_REGISTERS


class Does(Enum):
    """What a rule does."""

    LEAVE_OUT_PCRS = "these PCRs do not count"
    LEAVE_OUT_TEXTS = "an event that is such a text as a whole does not count"
    LEAVE_OUT_TABLES = "a partition table does not count"
    LEAVE_OUT_RETRIES = "what a boot option that returned did does not count if the last one does it too"
    NAME = "this part of a text counts as the name that takes its place"
    REPEAT = "a digest of a text in which parts were named, proven elsewhere in the log, counts as that text"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: where it applies, to what, why, and whose word that is.

    ``registers`` are MR indices of measurement registers (``ccel.CCEL_REGISTERS``), in place of ``pcrs``.
    """

    does: Does
    pcrs: tuple[int, ...]
    registers: tuple[int, ...]
    why: str
    source: str
    pattern: re.Pattern[str] | None = None
    name: str = ""


_RTMR1, _RTMR2 = 2, 3
_TEXTS: Final = (8, 9, 11, 12)
"""PCRs of GRUB's and systemd's texts, and those in which what they say is measured once more."""


def _named(name: str, pattern: str, why: str, source: str) -> Rule:
    return Rule(Does.NAME, _TEXTS, (_RTMR2,), why, source, re.compile(pattern), name)


# Each pattern is tried in time linear in the text, which an attacker may have written.
RULES: Final[tuple[Rule, ...]] = (
    Rule(
        Does.LEAVE_OUT_PCRS,
        (1, 6),
        (),
        "boot order, Boot####, setup variables, serial numbers; the vendor's and wake events",
        "SPEC sections 4.8 and 1.3",
    ),
    Rule(Does.LEAVE_OUT_PCRS, (5,), (), "GUIDs and sizes of the disk, how ExitBootServices ended", "SPEC section 4.8"),
    Rule(Does.LEAVE_OUT_PCRS, (10,), (), "IMA's: other in every boot, judged by its entries", "SPEC section 4.5"),
    Rule(
        Does.LEAVE_OUT_PCRS,
        tuple(range(15, PCRS)),
        (4,),
        "machine-id and volume keys (15), run time, debugging, D-RTM (16-23)",
        "SPEC section 4.5, DESIGN section 5.9",
    ),
    Rule(
        Does.LEAVE_OUT_TABLES,
        (),
        (_RTMR1,),
        "as PCR 5, which shares this register with PCR 2-4 and 6",
        "SPEC sections 4.8 and 2.5",
    ),
    Rule(
        Does.LEAVE_OUT_TEXTS,
        (4,),
        (_RTMR1,),
        "one boot option was tried, or several",
        "SPEC sections 4.8 and 4.9",
        re.compile(r"(?:Calling|Returning from) EFI Application from Boot Option|Booting to Boot[0-9A-Fa-f]{4} Option"),
    ),
    Rule(Does.LEAVE_OUT_RETRIES, (4,), (_RTMR1,), "the same loader, tried again", "SPEC section 4.8"),
    Rule(
        Does.LEAVE_OUT_TEXTS,
        (11,),
        (),
        "how far the boot had come when its log was read",
        "SPEC section 9.1",
        re.compile(r"enter-initrd|leave-initrd|sysinit|ready|shutdown|final"),
    ),
    Rule(
        Does.LEAVE_OUT_TEXTS,
        (9,),
        (),
        "the Name of an NV index of this TPM",
        "SPEC section 9.1",
        re.compile(r"nvpcr-init:[A-Za-z0-9_-]{1,64}:0x[0-9a-fA-F]{1,8}:[0-9a-fA-F]{1,132}"),
    ),
    _named(
        "<uuid>",
        r"(?<![0-9A-Za-z])[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}(?![0-9A-Za-z])",
        "a file system's, a partition's, a LUKS volume's: made when the machine was installed",
        "SPEC section 4.8; RFC 9562 section 4",
    ),
    _named(
        "<fat serial>",
        r"(?<=UUID=)[0-9A-F]{4}-[0-9A-F]{4}(?![0-9A-Za-z-])",
        "what stands for a UUID in a FAT file system",
        "SPEC section 4.8; blkid(8)",
    ),
    _named(
        "<mbr partition>",
        r"(?<=PARTUUID=)[0-9A-Fa-f]{8}-[0-9A-Fa-f]{2}(?![0-9A-Za-z-])",
        "the disk's signature and the number of the partition",
        "SPEC section 4.8; blkid(8)",
    ),
    _named(
        "<machine-id>",
        r"(?<=machine_id=)[0-9a-f]{32}(?![0-9A-Za-z])",
        "systemd.machine_id=",
        "machine-id(5)",
    ),
    _named(
        "<machine-id>",
        r"(?:(?<=/)|(?<=default=)|(?<=saved_entry=))[0-9a-f]{32}(?=[-/])",
        "boot entries and their folders begin with it",
        "Boot Loader Specification",
    ),
    Rule(
        Does.REPEAT,
        (9, 11),
        (_RTMR2,),
        "the command line once more: the kernel's load options in UTF-16 with a NUL, a unified image's .cmdline",
        "SPEC section 3.5",
    ),
)
"""All rules; those of one kind apply in this order.

In RTMR0 boot variables count: nothing but a type, which anybody may have written, tells them from Secure Boot's. Files
in PCR 9 count by their digest, grub.cfg too: a name is no proof, and what is in them is not in the log.
"""


def counted(*, of_registers: bool) -> int:
    """The mask of the PCRs, or measurement registers by MR index, that count."""
    if of_registers:
        out = [r for rule in RULES if rule.does is Does.LEAVE_OUT_PCRS for r in rule.registers]
        every = [index for index, register in enumerate(CCEL_REGISTERS) if index]  # no log extends MRTD
    else:
        out = [pcr for rule in RULES if rule.does is Does.LEAVE_OUT_PCRS for pcr in rule.pcrs]
        every = list(range(PCRS))
    return pcr_mask(every) & ~pcr_mask(out)


class Rules:
    """The rules for one PCR or measurement register."""

    def __init__(self, pcr: int, *, of_registers: bool) -> None:
        here = [rule for rule in RULES if pcr in (rule.registers if of_registers else rule.pcrs)]
        does = {rule.does for rule in here}
        self.retries = Does.LEAVE_OUT_RETRIES in does
        """Whether boot options are tried here, one after the other."""
        self.tables = Does.LEAVE_OUT_TABLES in does
        """Whether partition tables do not count."""
        self.repeats = Does.REPEAT in does
        """Whether a text of the log is measured here once more, its digest beside other data."""
        self._left_out = [r.pattern for r in here if r.does is Does.LEAVE_OUT_TEXTS and r.pattern is not None]
        self._named = [(r.pattern, r.name) for r in here if r.does is Does.NAME and r.pattern is not None]

    @property
    def look_at_texts(self) -> bool:
        """Whether any rule is about texts."""
        return bool(self._left_out or self._named)

    def leave_out(self, text: str) -> bool:
        """Whether an event that is this text, proven, does not count."""
        return any(pattern.fullmatch(text) for pattern in self._left_out)

    def named(self, text: str) -> str:
        """The text with a name in place of each part that is a machine's own."""
        for pattern, name in self._named:
            text = pattern.sub(name, text)
        return text


RULES_OF: Final[dict[bool, dict[int, Rules]]] = {
    of_registers: {pcr: Rules(pcr, of_registers=of_registers) for pcr in pcrs_of(counted(of_registers=of_registers))}
    for of_registers in (False, True)
}
"""The rules of each PCR that counts, and under True of each measurement register."""
