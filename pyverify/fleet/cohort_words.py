"""A cohort in words: what its machines boot, as far as their log tells and proves it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Final

from pyverify.appraise.boot_summary import BootSummary, Item, summarise
from pyverify.appraise.secure_boot_state import SecureBoot
from pyverify.baseline.cohorts import NormalBoot
from pyverify.evidence.text import escape

_SHOWN: Final = 4
"""Items of a kind that a line shows: firmware, shim, GRUB, kernel are four images."""
_ITEM_SIZE: Final = 60
"""Characters of an item in a line; all of it is in the JSON."""
_DIGEST_SIZE: Final = 16
"""Hexadecimal digits of a digest that stands for a version."""


@dataclass(frozen=True, slots=True)
class CohortWords:
    """What one boot is in words. Items are as the log has them, not escaped (``appraise.boot_summary``)."""

    of_registers: bool
    """Whether the log is of measurement registers: then nothing else is said."""
    firmware: tuple[Item, ...]
    """Versions; where the log has none, the digest of the first thing that it measured of the firmware."""
    secure_boot: str
    """``on``, ``off``, or what else is to be said."""
    images: tuple[Item, ...]
    """Device paths of the images that were started, in order."""
    kernels: tuple[Item, ...]
    command_lines: tuple[Item, ...]

    @classmethod
    def of(cls, boot: NormalBoot, bank: str) -> CohortWords:
        """The words for a boot; ``bank`` is the one whose digests are shown."""
        if boot.of_registers:
            return cls(True, (), "unknown", (), (), ())
        told = summarise(boot.log, boot.verified.tolist())
        return cls(
            False,
            _firmware(told, boot, bank),
            _secure_boot(told.secure_boot),
            told.loaders,
            told.kernels,
            told.command_lines,
        )

    def as_json(self) -> dict[str, Any]:
        """What ``json.dump`` takes; whoever prints the texts escapes them."""
        return asdict(self)

    def line(self) -> str:
        """One printable line, hints marked with ``?``."""
        if self.of_registers:
            return "measurement registers of confidential computing, whose events `pyverify inspect` shows"
        parts = [
            f"firmware {_list(self.firmware)}",
            f"Secure Boot {self.secure_boot}",
            f"images {_list(self.images, _file_name)}",
            f"kernel {_list(self.kernels, _file_name)}",
        ]
        return " · ".join(parts)


def _firmware(told: BootSummary, boot: NormalBoot, bank: str) -> tuple[Item, ...]:
    versions = tuple(item for item in told.firmware if item.value)
    if versions or not told.firmware_blobs:
        return versions
    first = told.firmware_blobs[0]
    if first.event is None:
        return ()
    digest = boot.log[first.event].digests[bank].hex()[:_DIGEST_SIZE]
    return (Item(f"{bank} {digest}", True, first.event, "the digest of its first part: it gives no version"),)


def _secure_boot(told: SecureBoot) -> str:
    words = {"enabled": "on", "disabled": "off"}.get(told.state, told.state)
    return f"{words}, but not every rule holds" if told.state == "enabled" and not told.enabled else words


def _file_name(path: str) -> str:
    """The name of a file at the end of a device path, or the path."""
    return re.split(r"[\\/]", path)[-1] if "\\" in path else path


def _list(items: tuple[Item, ...], name: Callable[[str], str] = str) -> str:
    shown = [f"{'' if item.proven else '? '}{escape(name(item.value), _ITEM_SIZE)}" for item in items[:_SHOWN]]
    more = f" and {len(items) - _SHOWN} more" if len(items) > _SHOWN else ""
    return (", ".join(shown) or "not in the log") + more
