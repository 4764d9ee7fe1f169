"""Part of bench ``scan``: the data of each event held against its digests, beside a plain loop over hashlib."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np

from bench import machine
from bench.cycles import sampled
from bench.plan import Plan
from bench.results import DifferentResultsError, Line
from pyverify import _native
from pyverify.algorithms import BY_NAME
from pyverify.evidence import event_types as types
from pyverify.evidence.columns import Ragged
from pyverify.evidence.data_check import VERIFIED, Rule, check_data
from pyverify.evidence.scanned import ScannedLogs

_BENCH: Final = "scan"
_BANK: Final = BY_NAME["sha256"]
_GRUB: Final = (b"grub_cmd: ", b"kernel_cmdline: ")
_HASHED: Final = frozenset(
    {
        types.EV_SEPARATOR,
        types.EV_S_CRTM_VERSION,
        types.EV_IPL,
        types.EV_EFI_VARIABLE_DRIVER_CONFIG,
        types.EV_EFI_VARIABLE_BOOT,
        types.EV_EFI_VARIABLE_AUTHORITY,
        types.EV_EFI_GPT_EVENT,
        types.EV_EFI_ACTION,
    }
)


def event_data(plan: Plan, logs: Sequence[bytes]) -> Iterator[Line]:
    """Logs as they are, and with digests of other banks that no other log has: then hardly two events are equal."""
    for name, some in (("", logs), ("unequal-", [_made_distinct(log, number) for number, log in enumerate(logs)])):
        scanned = ScannedLogs.of(Ragged.of(list(some)))
        columns = _columns(scanned)
        checks = check_data(scanned, (_BANK.name,))
        ours = (checks.verified == VERIFIED) & (checks.rule != Rule.SECTION_NAME)
        if _python(some, columns) != ours.sum():
            raise DifferentResultsError("plain Python proves the data of other events")

        def check(scanned: ScannedLogs = scanned) -> None:
            check_data(scanned, (_BANK.name,))

        def python(some: Sequence[bytes] = some, columns: Any = columns) -> None:
            _python(some, columns)

        taken = sampled({"": check, "python": python}, plan.short_samples)
        case = f"{_BANK.name}-distinct-{len(logs)}-{name}data"
        value, ratio = taken[""].seconds * 1e6 / len(scanned.events), taken["python"].seconds / taken[""].seconds
        yield Line(_BENCH, case, machine.isa((_BANK.name,)), 1, value, "us/event", "python", ratio)


def _columns(scanned: ScannedLogs) -> list[tuple[int, int, int, int, int]]:
    """For the loop: log, type, where the data begins and ends, where the digest is."""
    events = scanned.events
    ends = events["data_at"] + events["data_size"]
    digests = events["digest_at"][:, _BANK.index]
    columns = (scanned.log_of, events["type"], events["data_at"], ends, digests)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def _python(logs: Sequence[bytes], columns: list[tuple[int, int, int, int, int]]) -> int:
    """How many events have data that is proven, by the rules that the recorded boots need, section names apart."""
    proven = 0
    for row, kind, at, end, digest_at in columns:
        if kind not in _HASHED:
            continue
        log = logs[row]
        data = log[at:end]
        if kind == types.EV_EFI_VARIABLE_BOOT:
            data = data[32 + 2 * int.from_bytes(data[16:24], "little") :]
        elif kind == types.EV_IPL and (prefix := next((p for p in _GRUB if data.startswith(p)), b"")):
            data = data[len(prefix) :].removesuffix(b"\0")
        proven += hashlib.sha256(data).digest() == log[digest_at : digest_at + _BANK.size]
    return proven


def _made_distinct(log: bytes, number: int) -> bytes:
    """The log with a number over the beginning of each digest of a bank that is not looked at."""
    events = ScannedLogs.of(Ragged.of([log])).events
    at = np.delete(events["digest_at"], _BANK.index, axis=1)
    at = at[at != _native.NO_DIGEST].astype(np.int64)
    out = np.frombuffer(log, np.uint8).copy()
    out[at[:, np.newaxis] + np.arange(4)] = np.frombuffer(number.to_bytes(4, "little"), np.uint8)
    return out.tobytes()
