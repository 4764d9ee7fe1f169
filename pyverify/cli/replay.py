"""``replay``: the PCR values that event logs, or an IMA list alone, lead to."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pyverify.algorithms import BANKS, banks_of
from pyverify.cli.evidence_file import EVENT_LOGS, ima_format, kind_of, named, read_evidence
from pyverify.cli.log_file import LogFile, read_log
from pyverify.cli.pcr_files import read_pcr_file
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.pcrs import pcr_name
from pyverify.evidence.text import escape

if TYPE_CHECKING:
    from pyverify.evidence.ima_replay import ImaReplay

_UNEXPLAINED_BY_LOGS: Final = {10, *range(15, 24)}
"""PCRs that others than the firmware and the boot loader extend: IMA, the machine's identity, D-RTM, applications."""

_MRTD: Final = 0  # not in a log: the TDX module builds it

Values = dict[str, dict[int, bytes]]
"""By bank the values of PCRs, or of measurement registers by MR index."""


class Replayed(NamedTuple):
    """Where one file leads to."""

    values: Values
    fault: EvidenceError | None
    partial: tuple[str, ...] = ()
    """Banks in which some events have no digest."""
    file: LogFile | None = None
    """The event log that was replayed; None for an IMA list."""
    ima: ImaReplay | None = None
    """The IMA list that was replayed."""

    def name(self, register: int) -> str:
        """What a register is called."""
        return str(register) if self.file is None else self.file.register_name(register)


def replay(args: argparse.Namespace) -> int:
    """Prints where each file leads to; with ``--pcrs`` the answer is whether the machine's PCRs agree.

    JSON has the registers of a log of confidential computing by MR index, 1 to 4, in place of PCRs.
    """
    found = {path: _replayed(path, args.kind, args.isa) for path in args.files}
    expected = read_pcr_file(args.pcrs) if args.pcrs else None
    if args.format == "json":
        json.dump({path: _document(one) for path, one in found.items()}, sys.stdout, indent=1)
        print()
    else:
        for path, one in found.items():
            _print_banks(path, one)
    answer = 0
    if expected is not None:
        answer = max([_compare(path, one, expected) for path, one in found.items()])
    for path, one in found.items():
        if one.fault is not None:
            raise named(one.fault, path)
    return answer


def _replayed(path: str, asked: str | None, isa: str | None) -> Replayed:
    data = read_evidence(path)
    kind = kind_of(data, asked)
    if kind == "ima":
        return _list_replayed(path, data, isa)
    if kind not in EVENT_LOGS:
        raise UsageError(f"{path} is of kind {kind}; event logs and IMA lists can be replayed")
    if kind == "systemd":
        raise UsageError(f"{path} is a userspace log: it goes on where the firmware's ends, and leads nowhere alone")
    file = read_log(kind, data)
    if file.fault is not None:
        return Replayed({}, file.fault, file=file)
    registers = range(24) if file.of_pcrs else range(_MRTD + 1, 5)
    values = {
        bank: {register: rows[register].tobytes() for register in registers}
        for bank, rows in file.log.replay(isa=isa).items()
    }
    return Replayed(values, None, banks_of(int(file.log.row["incomplete"])), file)


def _list_replayed(path: str, data: bytes, isa: str | None) -> Replayed:
    """An IMA list by itself: from zeros, in each bank with its own hash, those PCRs that its entries name."""
    import numpy as np

    from pyverify.evidence.ima_list import ImaList
    from pyverify.evidence.ima_replay import ImaReplay

    found = ImaList.read(data, ima_format(path, data))
    if (fault := found.fault) is not None:
        return Replayed({}, EvidenceError(fault.code, str(fault), offset=fault.offset, event=fault.event))
    if not len(found):
        return Replayed({}, EvidenceError("ima.empty", "ima.empty the list has no entries"))
    values = ImaReplay(found.columns, isa=isa)
    pcrs = np.unique(found.columns.entries["pcr"]).tolist()
    banks = {bank.name: {pcr: values.replay(bank.name, pcr=pcr)[0].tobytes() for pcr in pcrs} for bank in BANKS}
    return Replayed(banks, None, ima=values)


def _document(found: Replayed) -> dict[str, Any]:
    fault = found.fault
    return {
        "fault": None if fault is None else {"code": fault.code, "offset": fault.offset},
        "banks": {bank: {str(pcr): value.hex() for pcr, value in rows.items()} for bank, rows in found.values.items()},
    }


def _print_banks(path: str, found: Replayed) -> None:
    print(f"{escape(path)}:")
    for bank, rows in found.values.items():
        print(f"  {bank}:{'  (some events have no digest in this bank)' if bank in found.partial else ''}")
        for register, value in rows.items():
            print(f"    {found.name(register):>2}: {value.hex()}")


def _compare(path: str, found: Replayed, expected: Values) -> int:
    """Says on standard error which PCRs differ; 1 if one does that this kind of evidence explains."""
    if found.file is None:
        return _compare_list(path, found, expected)
    if not found.file.of_pcrs:
        raise UsageError(f"--pcrs: {path} is a log of measurement registers, which are not PCRs")
    values = found.values
    common = [bank for bank in values if bank in expected]
    if values and not common:
        raise UsageError(f"{path} has banks {', '.join(values)}; the PCR file has {', '.join(expected) or 'none'}")
    answer = 0
    for bank in common:
        for pcr, want in sorted(expected[bank].items()):
            have = values[bank][pcr]
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


def _compare_list(path: str, found: Replayed, expected: Values) -> int:
    """An IMA list is written after a PCR is read, so any part of it from its start may be what the value is of."""
    import numpy as np

    from pyverify.evidence.ima_replay import Mode

    replayed = found.ima
    if replayed is None:
        return 0
    pcrs = next(iter(found.values.values()))
    compared = [(bank, pcr, rows[pcr]) for bank, rows in expected.items() for pcr in pcrs if pcr in rows]
    if not compared:
        raise UsageError(f"{path} is of PCR {', '.join(map(str, pcrs))}, of which the PCR file has no value")
    answer = 0
    for bank, pcr, want in compared:
        target = {bank: np.frombuffer(want, np.uint8)[None]}
        prefix = replayed.find_prefix(target, pcr=pcr)
        proven, n = int(prefix.proven[0]), int(np.count_nonzero(replayed.columns.entries["pcr"] == pcr))
        own = prefix.modes[bank][0] == Mode.OWN
        where = f"{escape(path)}: {bank} {pcr_name(pcr)}"
        if proven > 0:
            padded = "" if own else ", with SHA-1's digests padded with zeros: its kernel lacks the hash of this bank"
            print(f"{where}: is reached after {proven} of {n} entries{padded}", file=sys.stderr)
        else:
            print(f"{where}: no part of the list leads to {want.hex()}, which the machine says", file=sys.stderr)
            answer = 1
    return answer
