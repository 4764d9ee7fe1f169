"""PCR values when IMA started: those of the firmware's log, before user space extended anything (SPEC 7.5)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pyverify.appraise.comparison import PcrValues
from pyverify.appraise.judged_logs import JudgedLogs
from pyverify.appraise.rows import has_values
from pyverify.evidence.columns import Items
from pyverify.evidence.log_kinds import transcode
from pyverify.replay import replay


def values_at_start(batch: pa.RecordBatch, logs: Items, judged_as: JudgedLogs, pcrs: PcrValues) -> PcrValues:
    """What a boot_aggregate may be made of, in the banks of ``pcrs``, which are the values of the whole logs.

    Logs of measurement registers have none. A log with a userspace log behind it is replayed without that.

    Args:
        batch: the rows, conformed.
        logs: their event logs as they were sent.
        judged_as: their event logs as they are judged.
        pcrs: what those lead to.
    """
    values = dict(pcrs.values)
    usable = {bank: rows & ~judged_as.of_registers for bank, rows in pcrs.usable.items()}
    readable = np.logical_or.reduce([*usable.values(), np.zeros(len(logs), np.bool_)])
    rows = np.flatnonzero(judged_as.has_userspace & readable)
    if len(rows):
        kinds = batch.column("event_log_kind").to_pylist() if has_values(batch, "event_log_kind") else None
        firmware = [transcode(kinds[row] if kinds else None, logs[row]).log for row in rows.tolist()]
        replayed = replay(firmware, list(values))
        for bank, at_start in replayed.values.items():
            values[bank], usable[bank] = values[bank].copy(), usable[bank].copy()
            values[bank][rows], usable[bank][rows] = at_start, replayed.has_bank(bank)
    return PcrValues(values, usable)
