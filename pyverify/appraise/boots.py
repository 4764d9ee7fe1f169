"""Which boots the rows of a batch are, for what depends on the order of a machine's boots."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa

from pyverify.appraise.attestation import Attestation
from pyverify.baseline.identity import from_micros
from pyverify.baseline.place import Place


@dataclass(frozen=True)
class Boots:
    """The rows of a batch as boots, looked at as of a time. ``issued_at`` is of the rows whose quote is fresh."""

    batch: pa.RecordBatch
    machines: Sequence[str]
    as_of: datetime.datetime
    issued_at: Mapping[int, datetime.datetime]

    @classmethod
    def of(
        cls, batch: pa.RecordBatch, machines: Sequence[str], as_of: datetime.datetime, attestation: Attestation | None
    ) -> Boots:
        """The boots of a batch of evidence; of several challenges of one the last counts."""
        issued: dict[int, datetime.datetime] = {}
        if attestation is not None:
            for row, at in zip(attestation.facts["row"], attestation.facts["issued_at"], strict=True):
                if at is not None and attestation.attested[row] == "quote":
                    issued[row] = max(from_micros(at), issued.get(row, from_micros(at)))
        return cls(batch, machines, as_of, issued)

    def place(self, row: int) -> Place:
        """Where a boot stands among those of its machine."""
        boot_seq, collected_at, boot = (
            self.batch.column(name)[row].as_py() if name in self.batch.schema.names else None
            for name in ("boot_seq", "collected_at", "boot")
        )
        return Place(self.issued_at.get(row), boot_seq, collected_at, boot or "")
