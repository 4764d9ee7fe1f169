"""``replay``: the PCR values that event logs lead to."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pyverify.algorithms import BANKS
from pyverify.cli.evidence_file import read_evidence
from pyverify.cli.pcr_files import read_pcr_file
from pyverify.errors import UsageError
from pyverify.evidence.eventlog import EventLog
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape

_UNEXPLAINED_BY_LOGS = {10, *range(15, 24)}
"""PCRs that others than the firmware and the boot loader extend: IMA, the machine's identity, D-RTM, applications."""


def replay(args: argparse.Namespace) -> int:
    """Prints where each log leads to; with ``--pcrs`` the answer is whether the machine's PCRs agree."""
    logs = {path: EventLog.read(read_evidence(path)) for path in args.files}
    expected = read_pcr_file(args.pcrs) if args.pcrs else None
    values = {
        path: {} if log.fault or not len(log) else {b: v.tolist() for b, v in log.replay(isa=args.isa).items()}
        for path, log in logs.items()
    }
    document: dict[str, Any] = {}
    for path, log in logs.items():
        fault = log.fault
        banks = {bank: {str(pcr): bytes(v).hex() for pcr, v in enumerate(rows)} for bank, rows in values[path].items()}
        document[path] = {
            "fault": None if fault is None else {"code": fault.code, "offset": fault.offset},
            "banks": banks,
        }
    if args.format == "json":
        json.dump(document, sys.stdout, indent=1)
        print()
    else:
        for path, replayed in document.items():
            _print_banks(path, logs[path], replayed["banks"])
    answer = 0
    if expected is not None:
        answer = max([_compare(path, values[path], expected) for path in logs])
    for path, log in logs.items():
        log.check(path)
    return answer


def _print_banks(path: str, log: EventLog, banks: dict[str, dict[str, str]]) -> None:
    print(f"{escape(path)}:")
    incomplete = int(log.row["incomplete"])
    for bank, rows in banks.items():
        partial = any(b.name == bank and incomplete >> b.index & 1 for b in BANKS)
        print(f"  {bank}:{'  (some events have no digest in this bank)' if partial else ''}")
        for pcr, value in rows.items():
            print(f"    {pcr:>2}: {value}")


def _compare(path: str, values: dict[str, list[list[int]]], expected: dict[str, dict[int, bytes]]) -> int:
    """Says on standard error which PCRs differ; 1 if one does that logs explain."""
    common = [bank for bank in values if bank in expected]
    if values and not common:
        raise UsageError(f"{path} has banks {', '.join(values)}; the PCR file has {', '.join(expected) or 'none'}")
    answer = 0
    for bank in common:
        for pcr, want in sorted(expected[bank].items()):
            have = bytes(values[bank][pcr])
            if have == want:
                continue
            told = (
                f"{escape(path)}: {bank} {pcr_name(pcr)}: the log leads to {have.hex()}, the machine says {want.hex()}"
            )
            if pcr in _UNEXPLAINED_BY_LOGS:
                print(f"{told} (extended by others than this log's writers)", file=sys.stderr)
            else:
                print(told, file=sys.stderr)
                answer = 1
    for bank in sorted(set(expected) - set(values)) if values else ():
        extended = any(value.strip(b"\0") for pcr, value in expected[bank].items() if pcr not in _UNEXPLAINED_BY_LOGS)
        words = ", and the machine has it extended" if extended else ""
        print(f"{escape(path)}: the log has no bank {bank}{words}", file=sys.stderr)
        answer = max(answer, int(extended))
    if answer == 0 and common:
        print(f"{escape(path)}: agrees in {', '.join(common)}, where logs say what it should be", file=sys.stderr)
    return answer
