"""What the figures were measured on."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path
from typing import Any

from bench.cycles import adds_per_cycle, clock_hz
from pyverify import _core, _native
from pyverify.algorithms import BANKS, BY_NAME

_COMPILER = re.compile(rb"GCC: \([^)]*\) [0-9.]+|clang version [0-9.]+")


def describe() -> dict[str, Any]:
    """The machine, in the shape of a result line with more keys: the value is the load average of the last minute."""
    return {
        "bench": "machine",
        "case": cpu_model(),
        "isa": isa(tuple(BY_NAME)),
        "threads": cores(),
        "value": os.getloadavg()[0],
        "unit": "load",
        "peer": None,
        "ratio": None,
        "compiler": compiler(),
        "python": platform.python_version(),
        "clock_ghz": _known(clock_hz() / 1e9),
        "adds_per_cycle": _known(adds_per_cycle()),
        "kernels": {bank.name: _native.variants(bank.index)[-1] for bank in BANKS},
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 2)


def cpu_model() -> str:
    """The processor as the kernel names it."""
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.M) if cpuinfo.is_file() else None
    return found[1].strip() if found else platform.machine()


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def isa(banks: tuple[str, ...]) -> str:
    """The variants of the hash kernels that these banks use, each named once."""
    names = dict.fromkeys(_native.variants(BY_NAME[bank].index)[-1] for bank in banks)
    return "+".join(names)


def compiler() -> str | None:
    """What compiled the core, where the compiler left its name in it."""
    file = getattr(_core, "__file__", None)
    found = _COMPILER.search(Path(file).read_bytes()) if file else None
    return found[0].decode() if found else None
