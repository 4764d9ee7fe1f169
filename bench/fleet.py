"""A fleet of any size, a boot at a time: machines that differ as real ones do, the same for the same seed."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bench.templates import Template, templates

_START: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_CHANGED_EVERY: Final = 100
"""One machine in so many boots something else the last time."""


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot of one machine."""

    machine: str
    name: str
    seq: int
    collected_at: datetime.datetime
    log: bytes
    ima: bytes | None = None


@dataclass(frozen=True)
class Fleet:
    """``machines`` machines, each of which booted ``rounds`` times.

    Each machine boots like one of the recordings, with partition and disk GUIDs (PCR 1 and PCR 5) of its own: no
    two machines have the same log. A machine that did not change sends the same log each time. The last boot of one
    machine in a hundred has another boot loader (PCR 4) or kernel command line (PCR 8).
    """

    machines: int
    rounds: int = 4
    seed: int = 1
    sources: tuple[Template, ...] = field(default_factory=templates, repr=False)

    def __len__(self) -> int:
        """Boots in all."""
        return self.machines * self.rounds

    def boots(self) -> Iterator[Boot]:
        """All boots in the order of time: each machine's first, then each machine's second, …"""
        for number in range(1, self.rounds + 1):
            yield from self.round(number)

    def round(self, number: int) -> Iterator[Boot]:
        """The boots of one round, counted from 1."""
        for machine in range(self.machines):
            when = _START + datetime.timedelta(days=number, seconds=machine)
            yield Boot(f"m{machine:07}", f"boot-{number}", number, when, self.log(machine, number))

    def is_changed(self, machine: int, number: int) -> bool:
        """Whether this boot is one of those that went wrong."""
        return number == self.rounds > 1 and machine % _CHANGED_EVERY == 1

    def log(self, machine: int, number: int) -> bytes:
        """The log of one boot, its digests in every bank being those of its data."""
        template = self.sources[machine % len(self.sources)]
        log = bytearray(template.log)
        for index, site in enumerate(template.own):
            site.write(log, self._bytes(machine, index))
        if self.is_changed(machine, number):
            first, second = template.image, template.command_line
            if machine // _CHANGED_EVERY % 2:
                first, second = second, first
            site = first or second or template.own[0]
            site.write(log, self._bytes(machine, -1))
        return bytes(log)

    def _bytes(self, machine: int, index: int) -> bytes:
        return hashlib.blake2b(f"{self.seed} {machine} {index}".encode(), digest_size=16).digest()

    def mean_events(self) -> float:
        """Events of a log on average."""
        counts = [self.sources[machine % len(self.sources)].n_events for machine in range(self.machines)]
        return sum(counts) / len(counts)
