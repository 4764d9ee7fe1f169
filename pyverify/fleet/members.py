"""One boot of an archive: its members by allow-listed name, and what is wrong with them."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Final, NamedTuple

from pyverify import algorithms
from pyverify.fleet import limits
from pyverify.fleet.evidence_json import parse_evidence_json
from pyverify.fleet.names import escape_name, escape_path, is_name


class Member(NamedTuple):
    """Where the bytes of a member go."""

    column: str
    """Column of the evidence schema, or ``evidence`` for ``evidence.json``."""
    part: str = ""
    """``format`` of an IMA list, field of a quote."""
    number: int = 0
    """Number of the quote."""


EVENT_LOG: Final = Member("event_log")
USERSPACE_LOG: Final = Member("userspace_log")
AK_CERT: Final = Member("ak_cert")
EK_CERT: Final = Member("ek_cert")
EVIDENCE: Final = Member("evidence")

QUOTE_PARTS: Final = ("msg", "sig", "ak_pub", "pcrs")
"""Fields of a quote, in the order of the schema."""

_FIXED: Final[dict[str, Member]] = {
    "binary_bios_measurements": EVENT_LOG,
    "tpm2-measure.log": USERSPACE_LOG,
    "ak.crt": AK_CERT,
    "ek.crt": EK_CERT,
    "evidence.json": EVIDENCE,
}
_IMA: Final = re.compile(r"(binary|ascii)_runtime_measurements(?:_([a-z0-9_-]{1,16}))?")
_QUOTE: Final = re.compile(r"quote(?:\.([1-9][0-9]{0,5}))?\.(msg|sig|pcrs)")
_AK: Final = re.compile(r"ak(?:\.([1-9][0-9]{0,5}))?\.pub")


@lru_cache(4096)
def recognise(name: str) -> Member | None:
    """What the file of this name is, None if it is not evidence (DESIGN section 10)."""
    if name in _FIXED:
        return _FIXED[name]
    if match := _IMA.fullmatch(name):
        return _ima(*match.groups())
    if match := _QUOTE.fullmatch(name):
        return Member("quotes", match[2], int(match[1] or 0))
    if match := _AK.fullmatch(name):
        return Member("quotes", "ak_pub", int(match[1] or 0))
    return None


def _ima(form: str, spelling: str | None) -> Member | None:
    if spelling is None:
        return Member("ima", form)
    try:
        return Member("ima", f"{form}_{algorithms.bank(spelling).name}")
    except KeyError:
        return None


class Boot:
    """One boot while its members come in, and then one row.

    A boot that fails keeps its names, ``boot_seq`` and ``collected_at`` but none of its evidence: half of it is not
    what was sent.
    """

    __slots__ = (
        "_quotes",
        "boot",
        "boot_seq",
        "code",
        "collected_at",
        "evidence_json",
        "file",
        "hint",
        "machine",
        "members",
        "names",
        "row",
        "size",
    )

    def __init__(self, machine: str, boot: str, *, file: str, row: int) -> None:
        has_name = is_name(machine)
        is_good = has_name and is_name(boot)
        self.machine = machine if is_good else escape_name(machine)
        self.boot = boot if is_good else escape_name(boot)
        self.file = escape_path(file)
        self.row = row
        self.members: dict[Member, bytes] = {}
        self.names: dict[Member, str] = {}
        self.evidence_json: bytes | None = None
        self.size = 0
        self.boot_seq: int | None = None
        self.collected_at: datetime | None = None
        self.code: str | None = None
        self.hint: str | None = None
        self._quotes: set[int] = set()
        if not is_good:
            which = "boot" if has_name else "machine"
            self.fail("evidence.name", f"the {which}'s name must be 1 to 128 of A-Z a-z 0-9 . _ -; rename it")

    def fail(self, code: str, hint: str) -> None:
        """Make this a row with a reason; the first reason stands."""
        if self.code is None:
            self.code, self.hint = code, hint
            self.members = {EVIDENCE: self.members[EVIDENCE]} if EVIDENCE in self.members else {}
            self.size = 0

    def admit(self, member: Member, name: str) -> bool:
        """Note that a member is there; whether its bytes are wanted."""
        if member in self.names:
            self.fail("evidence.duplicate", f"{name} is there twice; which one is meant cannot be told")
            if member == EVIDENCE:
                self.members.pop(EVIDENCE, None)
            return False
        self.names[member] = name
        if member.column == "quotes":
            self._quotes.add(member.number)
            if len(self._quotes) > limits.QUOTES:
                self.fail("evidence.unreadable", f"more than {limits.QUOTES} quotes")
        return self.code is None or member == EVIDENCE

    def allows(self, member: Member, name: str, size: int) -> bool:
        """Whether a member of this size is within the limits; the boot fails if not."""
        limit = limits.MEMBER_BYTES[member.column]
        if size > limit:
            self.fail("evidence.unreadable", f"{name} is larger than the limit of {limit} bytes")
            return False
        if self.size + size > limits.BOOT_BYTES:
            self.fail("evidence.unreadable", f"all members together are larger than {limits.BOOT_BYTES} bytes")
            return False
        return True

    def put(self, member: Member, data: bytes) -> None:
        """Keep the bytes of a member that was admitted."""
        if self.code is None or member == EVIDENCE:
            self.members[member] = data
            self.size += len(data)

    def close(self) -> None:
        """The last member has come."""
        self.evidence_json = data = self.members.pop(EVIDENCE, None)
        if data is not None:
            try:
                self.boot_seq, self.collected_at = parse_evidence_json(data)
            except ValueError as error:
                self.fail("evidence.unreadable", f"evidence.json: {error}")
