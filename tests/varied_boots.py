"""Boots of one machine that differ as honest boots do, written without the package, and baselines of them."""

from __future__ import annotations

import struct
from dataclasses import replace
from functools import lru_cache

from baselines_by_hand import baseline
from cel_writers import systemd_record
from conftest import ALGORITHMS, entry, grub_text, hash_of, image, replay_by_hand, spec_id

from pyverify import EventLog, References
from pyverify.appraise.logged_pcr import LoggedPcr
from pyverify.appraise.variation import is_variation
from pyverify.baseline.model import Allowed, EventSequence

BANKS = ["sha256", "sm3_256"]
ACTION, SEPARATOR, IPL, TAG = 0x80000007, 4, 0xD, 6


def word(pcr: int, text: bytes, kind: int = IPL, digests: dict[str, bytes] | None = None, banks=BANKS) -> bytes:
    """An event that says a text, and hashes it unless digests are given."""
    return entry(pcr, kind, text, banks, digests)


def contents(pcr: int, name: bytes, data: bytes, banks=BANKS) -> bytes:
    """A file as GRUB measures it: the name in the log, the contents in the digest (SPEC 3.5)."""
    return entry(pcr, IPL, name + b"\0", banks, {bank: hash_of(bank, data) for bank in banks})


CALLING = word(4, b"Calling EFI Application from Boot Option", ACTION)
RETURNING = word(4, b"Returning from EFI Application from Boot Option", ACTION)
BOOTING = word(4, b"Booting to Boot0001 Option", ACTION)
BOOTING_2 = word(4, b"Booting to Boot0002 Option", ACTION)
SHIM, GRUB, EVIL = (image(BANKS, one) for one in (b"shim", b"grub", b"evil"))
PCR4_SEPARATOR = entry(4, SEPARATOR, bytes(4), BANKS)
FIRST_TRY = [CALLING, PCR4_SEPARATOR, SHIM, GRUB]
HEAD, RETURNED = FIRST_TRY[:2], [RETURNING, CALLING]
FILES = [contents(9, name, b"of " + name) for name in (b"grub.cfg", b"grubenv", b"vmlinuz")]
PHASES = [b"enter-initrd", b"leave-initrd", b"sysinit", b"ready", b"shutdown", b"final"]
# A TPM2B_NAME of a SHA-256 NV index, in hexadecimal (SPEC 9.1).
NAME = b"000b" + hash_of("sha256", b"nv").hex().encode()
NVPCRS = [b"nvpcr-init:%s:0x1d102%02x:%s" % (name, n, NAME) for n, name in enumerate((b"hardware", b"login"))]


def booted(pcr4=FIRST_TRY, pcr9=FILES, pcr11=(), extra: bytes = b"", command_line: bytes = b"quiet") -> bytes:
    """The firmware's log of a boot: what PCR 4, 9 and 11 were extended with, all else as ever."""
    log = spec_id(BANKS) + entry(0, 8, "1.0\0".encode("utf-16-le"), BANKS)
    log += b"".join(entry(pcr, SEPARATOR, bytes(4), BANKS) for pcr in range(8) if pcr != 4)
    log += b"".join([*pcr4, *pcr9, *pcr11])
    log += grub_text(b"kernel_cmdline: ", command_line, BANKS) + extra
    log += word(5, b"Exit Boot Services Invocation", ACTION)
    return log + word(5, b"Exit Boot Services Returned with Success", ACTION)


def userspace(*said: tuple[int, bytes], banks=BANKS) -> bytes:
    """systemd's log of these texts, by PCR."""
    return b"".join(systemd_record(pcr, text.decode(), banks) for pcr, text in said)


def phases(*texts: bytes, banks=BANKS) -> bytes:
    """systemd's log of these phases of a boot."""
    return userspace(*((11, text) for text in texts), banks=banks)


def learned(log: bytes, *, varies: dict[int, tuple[int, ...]] | None = None, machine: str = "m", **changes):
    """The baseline of a boot in which some events, by PCR and position, may have any digest."""
    made = baseline(machine, log, **changes)
    allowed = list(made.allowed)
    for pcr, positions in (varies or {}).items():
        allowed[pcr] = (Allowed(replace(allowed[pcr][0].sequence, varies=positions)),)
    return replace(made, allowed=tuple(allowed))


def known(log: bytes, **changes) -> References:
    """References that know the machine by one boot."""
    return References.of([learned(log, **changes)])


@lru_cache
def sequence_of(pcr: int, log: bytes, varies: tuple[int, ...]) -> EventSequence:
    return learned(log, varies={pcr: varies}).allowed[pcr][0].sequence


def passes(pcr: int, expected, actual, *, varies=(), banks=BANKS, values=None, **how) -> bool:
    """Whether events of a PCR pass for others; the authentic values are those of a replay by hand."""
    log = spec_id(BANKS) + b"".join(actual)
    sequence = sequence_of(pcr, spec_id(BANKS) + b"".join(expected), varies)
    by_hand = replay_by_hand(log)
    authentic = {bank: by_hand[bank][pcr] for bank in banks} if values is None else values
    return is_variation(LoggedPcr(EventLog.parse(log), pcr), sequence, authentic, **how)


def other_digest(event: bytes, bank: str, digest: bytes) -> bytes:
    """An event whose digest in one bank is another."""
    head = struct.pack("<H", ALGORITHMS[bank][0])
    at = event.index(head, 12) + 2
    return event[:at] + digest + event[at + len(digest) :]


def other_type(event: bytes, kind: int) -> bytes:
    return event[:4] + struct.pack("<I", kind) + event[8:]


def retried(*events: bytes) -> list[bytes]:
    """What PCR 4 holds of a boot that succeeded after these events of attempts that did not."""
    return [*HEAD, *events, SHIM, GRUB]
