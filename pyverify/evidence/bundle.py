"""Evidence of one boot, as one object for a service that appraises boots one at a time."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyverify.errors import UsageError
from pyverify.evidence.columns import SCHEMA_VERSION, evidence_schema
from pyverify.evidence.text import escape


@dataclass(frozen=True, slots=True)
class ImaList:
    """A kernel's IMA list: ``format`` is ``binary``, ``ascii``, or one of them with the bank (``binary_sha256``)."""

    format: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Quote:
    """A signed quote as it was sent: TPMS_ATTEST, TPMT_SIGNATURE, the AK's public area, PCR values beside it."""

    msg: bytes
    sig: bytes
    ak_pub: bytes | None = None
    pcrs: bytes | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """What one machine sent of one boot. None means not sent; empty bytes mean sent empty."""

    machine: str
    boot: str
    event_log: bytes | None = None
    event_log_kind: str | None = None
    userspace_log: bytes | None = None
    ima: Sequence[ImaList] | None = None
    quotes: Sequence[Quote] | None = None
    ak_cert: bytes | None = None
    ek_cert: bytes | None = None
    boot_seq: int | None = None
    collected_at: datetime.datetime | None = None


def evidence_batch(items: Sequence[Evidence]) -> Any:
    """The evidence as a pyarrow RecordBatch of :func:`pyverify.evidence.columns.evidence_schema`, one row an item.

    Raises:
        UsageError: a value of another type than its column's, or text that is none.
    """
    import pyarrow as pa

    def lists(values: Sequence[ImaList] | Sequence[Quote] | None, fields: tuple[str, ...]) -> list[Any] | None:
        return None if values is None else [{field: getattr(value, field) for field in fields} for value in values]

    schema = evidence_schema()
    special = {
        "schema_version": [SCHEMA_VERSION] * len(items),
        "ima": [lists(item.ima, ("format", "data")) for item in items],
        "quotes": [lists(item.quotes, ("msg", "sig", "ak_pub", "pcrs")) for item in items],
    }
    arrays = []
    for field in schema:
        values = special[field.name] if field.name in special else [getattr(item, field.name) for item in items]
        try:
            arrays.append(pa.array(values, field.type))
        except (pa.ArrowException, TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"evidence whose {field.name} cannot be: {escape(str(error), 200)}") from error
    return pa.record_batch(arrays, schema=schema)
