"""Logs of confidential computing (CCEL): TCG logs of measurement registers, which are not PCRs (SPEC section 2.5)."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from pyverify.algorithms import pcr_mask, pcrs_of
from pyverify.errors import EvidenceError, UsageError
from pyverify.evidence.cel import CC_REGISTERS
from pyverify.evidence.event_types import EV_NO_ACTION
from pyverify.evidence.eventlog import EventLog

_ACPI_SIGNATURE: Final = b"CCEL"
_HEADER_INDICES: Final = (b"\1\0\0\0", b"\0\0\0\0")  # TDVF writes 1, td-shim 0


class CcRegister(NamedTuple):
    """A measurement register of a TD, and the PCRs that it stands for: several may share one."""

    name: str
    pcrs: tuple[int, ...]


# EDK2's TdxMeasurementLib maps PCR to MR index; EFI_CC_MEASUREMENT_PROTOCOL numbers MRTD 0 and RTMR n as n + 1.
CCEL_REGISTERS: Final = (
    CcRegister("MRTD", (0,)),
    CcRegister("RTMR0", (1, 7)),
    CcRegister("RTMR1", (2, 3, 4, 5, 6)),
    CcRegister("RTMR2", (8, 9, 10, 11, 12, 13, 14, 15)),
    CcRegister("RTMR3", ()),
)
"""The registers by MR index. RTMR3 belongs to run time and stands for no PCR; no log extends MRTD."""


def mr_mask(pcrs: int) -> int:
    """The mask of MR indices of the registers that hold any of these PCRs (a bit each).

    Raises:
        UsageError: a PCR of the mask, 16 or above, is in no register.
    """
    held = {pcr for register in CCEL_REGISTERS for pcr in register.pcrs}
    if nowhere := set(pcrs_of(pcrs)) - held:
        raise UsageError(f"no measurement register stands for PCR {', '.join(map(str, sorted(nowhere)))}")
    return sum(1 << index for index, register in enumerate(CCEL_REGISTERS) if pcr_mask(register.pcrs) & pcrs)


def read_ccel(data: bytes) -> bytes:
    """The log area of a CCEL as a TCG log whose PCR fields are MR indices and whose header has index 0.

    Raises:
        EvidenceError: ``log.not-a-log`` for the ACPI table in place of the area, or a log that has no Spec ID event;
            ``log.header`` for another header; ``log.pcr-index`` for a register that a TD lets no writer of logs extend,
            as in a TPM's log given as CCEL; any other fault of the log.
    """
    if data.startswith(_ACPI_SIGNATURE):
        words = "this is the ACPI table, which only says where the log is: collect /sys/firmware/acpi/tables/data/CCEL"
        raise _fault("log.not-a-log", 0, words)
    if not data:
        return data
    if data[:4] not in _HEADER_INDICES:
        raise _fault("log.header", 0, "the first entry of a confidential-computing log has index 1")
    log = EventLog.read(b"\0\0\0\0" + data[4:])
    log.check()
    if log.format != "tcg2":
        raise _fault("log.not-a-log", 0, "a confidential-computing log begins with a Spec ID event")
    events = log.columns
    extended = events["type"] != EV_NO_ACTION
    wrong = extended & ((events["pcr"] == 0) | (events["pcr"] >= CC_REGISTERS))
    if wrong.any():
        number = int(np.argmax(wrong))
        words = (
            f"event {number} extends measurement register {events['pcr'][number]}; a TD's log has 1 to "
            f"{CC_REGISTERS - 1} (a TPM's log, which is of kind tcg?)"
        )
        raise _fault("log.pcr-index", int(events["at"][number]), words, number)
    return log.data


def _fault(code: str, at: int, words: str, event: int | None = None) -> EvidenceError:
    return EvidenceError(code, f"{code} at byte {at}: {words}", offset=at, event=event)
