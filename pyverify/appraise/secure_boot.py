"""Secure Boot as PCR 7 measured it: what was enforced, by whose keys, and what speaks against it (SPEC section 5).

All of it says what the *log* says: whether its digests are what the machine measured, a replay has to prove.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pyverify import _native
from pyverify.appraise.secure_boot_events import (
    AUDIT_MODE,
    DATABASES,
    MEASURED_PCRS,
    SECURE_BOOT,
    SHIM_PCR,
    SecureBootEvents,
)
from pyverify.appraise.secure_boot_rules import NO_RULES, STRICT, Allowances, SecureBootRules
from pyverify.appraise.secure_boot_state import SecureBoot, State
from pyverify.errors import UsageError
from pyverify.evidence import uefi
from pyverify.evidence.event_types import EV_NO_ACTION
from pyverify.evidence.eventlog import Event, EventLog
from pyverify.evidence.scanned import ScannedLogs
from pyverify.findings import Finding, Severity

_STATES: Final[dict[bytes, State]] = {b"\1": "enabled", b"\0": "disabled", b"": "not-initialised"}
_AGAINST: Final = ("secureboot.ambiguous", "secureboot.authority", "secureboot.debug")
_X509_PK_OVERHEAD: Final = 28 + 16  # EFI_SIGNATURE_LIST and the owner's GUID, before the one certificate

# Boards of a fleet are of some dozens of kinds; a kind's events of PCR 7 and 14 take some 10 to 50 KB. Larger ones
# than any real machine has are judged again each time, so that the cache never holds more than 128 MiB.
_CACHED_BOARDS: Final = 512
_CACHED_BYTES: Final = 1 << 18


def secure_boot(log: EventLog, verified: Sequence[int], allow: Allowances = STRICT) -> SecureBoot:
    """Decides the Secure Boot state from the events of PCR 7 and 14 of one log (SPEC section 5.2).

    Args:
        log: a whole log.
        verified: for each event 1 where its data hashes to its digest in every bank, 0 where it does not, -1 where
            that was not checked or cannot be.
        allow: what the policy allows.

    Raises:
        EvidenceError: the log is empty or has a fault.
        UsageError: ``verified`` has not one value an event.
    """
    log.check()
    if len(verified) != len(log):
        raise UsageError(f"verified has {len(verified)} values for {len(log)} events")
    numbers = np.flatnonzero(_of_interest(log.columns)).tolist()
    return _judge([log[number] for number in numbers], [int(verified[number]) for number in numbers], allow)


def secure_boot_findings(
    scanned: ScannedLogs, verified: npt.NDArray[np.int8], rules: SecureBootRules = NO_RULES
) -> Iterator[tuple[int, Finding]]:
    """The findings of :func:`secure_boot` and of a policy for a batch of logs, each with the index of its log.

    Logs whose events of PCR 7 and 14 are equal, byte for byte, are judged once, across batches too. A log with a
    fault has none: nothing in it can be judged.

    Args:
        scanned: the logs; those that are equal as a whole are better given once.
        verified: int8 of shape [m], for each event of the batch what :func:`secure_boot` wants.
        rules: what the policy asks for and allows.

    Raises:
        UsageError: ``verified`` has not one value an event.
    """
    if verified.shape != scanned.log_of.shape:
        raise UsageError(f"verified has shape {verified.shape} for {len(scanned.log_of)} events")
    numbers = np.flatnonzero(_of_interest(scanned.events) & (scanned.rows["fault"][scanned.log_of] == 0))
    logs, firsts = np.unique(scanned.log_of[numbers], return_index=True)
    runs, layout = _entries(scanned, numbers, firsts)
    flags = verified[numbers].astype(np.int8)
    bounds = [*firsts.tolist(), len(numbers)]
    # Boards that are equal have one object of findings, which is kept here so that no other can have its id.
    placed: dict[tuple[int, bytes], tuple[tuple[Finding, ...], tuple[Finding, ...]]] = {}
    for log, (first, last), pieces in zip(logs.tolist(), pairwise(bounds), runs, strict=True):
        entries = b"".join(pieces)
        judge = _findings_cached if len(entries) <= _CACHED_BYTES else _findings_of
        of_log = numbers[first:last] - int(scanned.rows["first_event"][log])
        found = judge(layout[first:last].tobytes(), entries, flags[first:last].tobytes(), rules)
        key = id(found), of_log.tobytes()
        if key not in placed:
            placed[key] = found, _placed(found, of_log.tolist())
        for finding in placed[key][1]:
            yield log, finding
    silent = scanned.rows["fault"] == 0
    silent[logs] = False
    for log in np.flatnonzero(silent).tolist():
        for finding in _findings_cached(b"", b"", b"", rules):  # a log that says nothing of Secure Boot
            yield log, finding


def _placed(found: tuple[Finding, ...], numbers: list[int]) -> tuple[Finding, ...]:
    """The findings with the numbers of their events in the log."""
    return tuple(one if one.event is None else replace(one, event=numbers[one.event]) for one in found)


def _of_interest(events: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    mine: npt.NDArray[np.bool_] = np.isin(events["pcr"], MEASURED_PCRS) & (events["type"] != EV_NO_ACTION)
    return mine


def _entries(
    scanned: ScannedLogs, numbers: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]
) -> tuple[Iterator[list[memoryview]], npt.NDArray[Any]]:
    """For each log the entries of these events as runs of bytes, and the events' columns with offsets as they are once
    a log's runs are joined: equal for boards that are equal. ``firsts`` is where each log's begin in ``numbers``."""
    layout = scanned.events[numbers]
    base = scanned.logs.offsets[scanned.log_of[numbers]]
    starts = base + layout["at"]
    ends = base + layout["data_at"] + layout["data_size"]
    # Entries that follow each other in their log are one run.
    begins = np.ones(len(numbers), np.bool_)
    begins[1:] = starts[1:] != ends[:-1]
    begins[firsts] = True
    run_starts, run_ends = starts[begins].tolist(), ends[np.roll(begins, -1)].tolist()
    run_of = [*(np.cumsum(begins)[firsts] - 1).tolist(), len(run_starts)]
    blob = scanned.logs.blob.data
    runs = (
        [blob[start:end] for start, end in zip(run_starts[first:last], run_ends[first:last], strict=True)]
        for first, last in pairwise(run_of)
    )
    joined = np.cumsum(ends - starts) - (ends - starts)
    joined -= np.repeat(joined[firsts], np.diff([*firsts, len(numbers)]))
    shift = (joined - layout["at"]).astype(np.uint32)  # may be negative: it wraps, and so does what it is added to
    absent = layout["digest_at"] == _native.NO_DIGEST
    layout["digest_at"] += shift[:, None]
    layout["digest_at"][absent] = _native.NO_DIGEST
    layout["data_at"] += shift
    layout["at"] += shift
    return runs, layout


def _findings_of(layout: bytes, entries: bytes, verified: bytes, rules: SecureBootRules) -> tuple[Finding, ...]:
    """The findings of joined entries; their event numbers count these entries only."""
    events = EventLog(entries, None, np.frombuffer(layout, _native.EVENT_DTYPE))
    return tuple(rules.judge(_judge(list(events), np.frombuffer(verified, np.int8).tolist(), rules.allow)))


_findings_cached = lru_cache(_CACHED_BOARDS)(_findings_of)


def _judge(events: Sequence[Event], verified: Sequence[int], allow: Allowances) -> SecureBoot:
    """The state from the extended events of PCR 7 and 14, in order, and what is known of their data."""
    read = SecureBootEvents(allow.separator_of_ones)
    for event, flag in zip(events, verified, strict=True):
        if event.pcr == SHIM_PCR:
            read.shim_log(event)
        else:
            read.measurement(event, flag)
    read.finish()
    state = _state(read, allow)
    _tell(read, state, allow)
    variable = read.variables.get(SECURE_BOOT)
    return SecureBoot(
        enabled=state == "enabled" and not any(read.notes.high(code) for code in _AGAINST),
        state=state,
        event=None if variable is None else variable.event,
        **read.databases,
        authorities=tuple(read.authorities),
        shim_validates=read.shim_off is None if read.shim_ran else None,
        mok_list=read.mok.get("MokList", {}),
        mok_list_x=read.mok.get("MokListX", {}),
        sbat_level=read.sbat_level,
        sbat_rows=read.sbat_rows,
        sbat_event=read.sbat_event,
        debug=read.debug is not None,
        dma_protection_off=read.dma_off is not None,
        findings=read.notes.findings(),
    )


def _state(read: SecureBootEvents, allow: Allowances) -> State:
    """What the variable says, where it says one thing only."""
    if not read.speaks:
        # Nothing to be ambiguous about; what else is wrong with PCR 7 is for the checks of its structure to say.
        read.notes.forget("secureboot.ambiguous")
        return "unknown"
    state: State = "unknown"
    variable = read.variables.get(SECURE_BOOT)
    if variable is not None:
        state = _STATES.get(variable.data, "ambiguous")
        if state == "ambiguous":
            read.ambiguous(f"SecureBoot = {variable.data[:8].hex()}, which means nothing", variable.event)
        if read.separators == 0:
            read.ambiguous("PCR 7 has no separator after the SecureBoot variable", variable.event)
    elif read.variables:
        read.ambiguous("keys were measured, but no SecureBoot variable")
    if state == "enabled":
        _require_keys(read, allow)
    return "ambiguous" if read.notes.high("secureboot.ambiguous") else state


def _require_keys(read: SecureBootEvents, allow: Allowances) -> None:
    """With Secure Boot on, firmware has keys of every kind, and one PK (SPEC section 5.2.4)."""
    needed = ("pk", "kek", "db") if allow.empty_dbx else ("pk", "kek", "db", "dbx")
    missing = [key if key.startswith("db") else key.upper() for key in needed if not read.databases[key]]
    if missing:
        read.ambiguous(f"SecureBoot is on without {', '.join(missing)}")
    if (audit := read.variables.get(AUDIT_MODE)) is not None and audit.data == b"\1":
        read.ambiguous("SecureBoot is on in audit mode, in which nothing is enforced", audit.event)
    pk = read.databases["pk"]
    size = len(read.variables[DATABASES["pk"]].data) if pk else 0
    if pk and (len(pk) != 1 or pk[0].type != uefi.X509 or size != _X509_PK_OVERHEAD + len(pk[0].data)):
        read.ambiguous("PK is not one certificate", read.variables[DATABASES["pk"]].event)


def _tell(read: SecureBootEvents, state: State, allow: Allowances) -> None:
    """Adds the findings that are not about ambiguity."""
    add = read.notes.add
    if state in ("disabled", "not-initialised"):
        words = "is off" if state == "disabled" else "was never set up"
        add("secureboot.disabled", Severity.INFO, f"Secure Boot {words}", read.variables[SECURE_BOOT].event)
    told = set()
    for item in read.authorities:
        if item.found is False:
            hint = f"an image was judged by a {item.source} entry that the measured {item.source} does not hold"
            add("secureboot.authority", Severity.HIGH, hint, item.event)
        elif item.source == "dbx":
            add("secureboot.authority", Severity.INFO, "an image was refused, since dbx revokes it", item.event)
        elif item.found is None and item.source != "SbatLevel" and (item.source, item.data) not in told:
            told.add((item.source, item.data))
            hint = f"unprovable: an image was judged by an entry of {item.source}, whose content is in no log"
            add("secureboot.authority", Severity.INFO, hint, item.event)
    if state == "enabled" and not any(item.source in ("db", "dbr") for item in read.authorities):
        add("secureboot.authority", Severity.HIGH, "Secure Boot is on, but no image was verified by the measured db")
    if read.shim_off is not None:
        add("secureboot.shim-off", Severity.HIGH, "MokSBState: shim starts what nobody signed", read.shim_off)
    if read.debug is not None:
        add("secureboot.debug", Severity.HIGH, "the firmware was in UEFI debug mode", read.debug)
    if read.dma_off is not None:
        severity = Severity.INFO if allow.dma_protection_off else Severity.HIGH
        add("secureboot.debug", severity, "protection against memory access by devices was off", read.dma_off)
