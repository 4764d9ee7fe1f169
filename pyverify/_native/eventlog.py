"""Event logs: their rows and event columns, and the PCR values they lead to."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify._core import ffi, lib
from pyverify._native.core import KEY, Blob, Offsets, check, check_layout, count, pointer, scratch, variant
from pyverify.algorithms import BANKS, BY_NAME, PCRS, banks_of

LOG_DTYPE: Final = np.dtype(
    [
        ("fault", np.uint32),
        ("format", np.uint32),
        ("fault_at", np.uint64),
        ("first_event", np.uint64),
        ("n_events", np.uint32),
        ("banks", np.uint32),
        ("incomplete", np.uint32),
        ("touched", np.uint32),
        ("notes", np.uint32),
        ("locality", np.uint32),
        ("padding", np.uint64),
    ]
)
"""One row a log: pv_log of csrc/api.h."""

EVENT_DTYPE: Final = np.dtype(
    [
        ("pcr", np.uint32),
        ("type", np.uint32),
        ("at", np.uint32),
        ("data_at", np.uint32),
        ("data_size", np.uint32),
        ("digest_at", np.uint32, (len(BANKS),)),
    ]
)
"""One row an event: pv_event of csrc/api.h. Offsets are from the start of its log."""

NO_DIGEST: Final = int(lib.PV_NO_DIGEST)
MAX_LOG_SIZE: Final = int(lib.PV_MAX_LOG_SIZE)
MAX_EVENTS: Final = int(lib.PV_MAX_EVENTS)

NOTES: Final[dict[str, int]] = {
    name.removeprefix("PV_NOTE_").lower(): int(getattr(lib, name)) for name in dir(lib) if name.startswith("PV_NOTE_")
}
"""Bits of the ``notes`` column by name: ``padding``, ``start_late``, …"""

check_layout("pv_log", LOG_DTYPE)
check_layout("pv_event", EVENT_DTYPE)


def fault_code(fault: int) -> str | None:
    """The findings-table code of a value of the ``fault`` column, None for 0."""
    code = lib.pv_fault_code(fault)
    return None if code == ffi.NULL else str(ffi.string(code).decode())


def scan(blob: Blob, offsets: Offsets) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Reads the logs of a batch: rows of LOG_DTYPE of shape [n] and the events of all, EVENT_DTYPE of shape [events].

    Raises:
        UsageError: offsets that do not fit the blob.
    """
    n = count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    events = np.empty(int(lib.pv_scan_capacity(offsets_pointer, 0, n)), EVENT_DTYPE)
    written = ffi.new("uint64_t *")
    check(
        lib.pv_scan(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            0,
            n,
            pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            pointer("pv_event[]", events, EVENT_DTYPE, writable=True),
            len(events),
            written,
        ),
        "pv_scan",
    )
    return logs, events[: written[0]].copy()


def replay(
    blob: Blob, offsets: Offsets, banks: int, isa: str | None = None
) -> tuple[npt.NDArray[Any], dict[str, npt.NDArray[np.uint8]]]:
    """Reads and replays the logs of a batch in the banks of a mask.

    Returns:
        Rows of LOG_DTYPE of shape [n], and by bank name the PCR values, uint8 of shape [n, 24, digest size]; zeros
        where a log has a fault or does not list the bank.

    Raises:
        UsageError: offsets that do not fit the blob, an unknown variant.
    """
    n = count(blob, offsets)
    logs = np.zeros(n, LOG_DTYPE)
    values = {name: np.empty((n, PCRS, BY_NAME[name].size), np.uint8) for name in banks_of(banks)}
    offsets_pointer = pointer("int64_t[]", offsets, np.int64)
    room = scratch(int(lib.pv_replay_scratch(offsets_pointer, 0, n)))
    outputs = [
        pointer("uint8_t[]", values[bank.name], np.uint8, writable=True) if bank.name in values else ffi.NULL
        for bank in BANKS
    ]
    wanted = [variant(bank.index, isa) if bank.name in values else -1 for bank in BANKS]
    check(
        lib.pv_replay(
            pointer("uint8_t[]", blob, np.uint8),
            offsets_pointer,
            0,
            n,
            banks,
            ffi.new("int32_t[]", wanted),
            KEY,
            pointer("pv_log[]", logs, LOG_DTYPE, writable=True),
            *outputs,
            pointer("uint8_t[]", room, np.uint8, writable=True),
            len(room),
        ),
        "pv_replay",
    )
    return logs, values
