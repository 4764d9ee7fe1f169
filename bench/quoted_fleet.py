"""A fleet whose machines sign what they booted: each boot with one quote, by a key of the machine's own."""

from __future__ import annotations

import datetime
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from bench.archives import record_batches
from bench.baselines import AS_OF, learn_into
from bench.fleet import Fleet
from bench.signers import Kind, Signer, digest, signers
from bench.templates import templates
from pyverify.algorithms import BY_NAME
from pyverify.baseline import schema
from pyverify.baseline.identity import Challenge, KeyLevel
from pyverify.baseline.ledger import Ledger
from pyverify.baseline.store import Store
from pyverify.evidence.columns import evidence_schema
from pyverify.evidence.keys import name_of
from pyverify.evidence.sm2 import Sm2Mode
from pyverify.fleet.job import BATCH_ROWS
from pyverify.replay import replay

_PCRS: Final = 15
"""PCR 0 to 14 are quoted: all that the presets compare or tell of."""
_ENROLLED: Final = {"level": str(KeyLevel.ENROLLED), "sm2_mode": str(Sm2Mode.DIGEST)}
_AT: Final = evidence_schema().get_field_index("quotes")


def attest(hash_name: str, bank: str, values: bytes, nonce: bytes, *, clock: int = 1, resets: int = 1) -> bytes:
    """A TPMS_ATTEST over the values of the first PCRs of a bank (SPEC 8.1); ``hash_name`` is the signature's."""
    chosen = (1 << len(values) // BY_NAME[bank].size) - 1
    signer = b"\0\x22\0\x0b" + bytes(32)
    head = bytes.fromhex("ff5443478018") + signer + struct.pack(">H", len(nonce)) + nonce
    clocks = struct.pack(">QIIBQ", clock, resets, 0, 1, 1)
    selection = struct.pack(">IHB", 1, BY_NAME[bank].id, 3) + chosen.to_bytes(3, "little")
    signed = digest(hash_name, values)
    return head + clocks + selection + struct.pack(">H", len(signed)) + signed


@dataclass(frozen=True)
class QuotedFleet:
    """``machines`` machines with keys of one kind, which booted ``rounds`` times after the boot that was learned.

    The logs are those of :class:`bench.fleet.Fleet`. Each boot answers a challenge of its own with a quote of its log's
    PCR values in one bank, with the values beside it.
    """

    kind: Kind
    machines: int
    rounds: int = 1

    @property
    def bank(self) -> str:
        """The bank that is quoted: that of SM2's hash, else SHA-256."""
        return "sm3_256" if self.kind.hash_name == "sm3_256" else "sha256"

    def __len__(self) -> int:
        """Boots in all."""
        return self.machines * self.rounds

    @cached_property
    def fleet(self) -> Fleet:
        """The machines that have this bank. The last boot of some goes wrong, so there is one more than is used."""
        name = BY_NAME[self.bank]
        able = tuple(t for t in templates() if int(replay([t.log]).logs["banks"][0]) >> name.index & 1)
        return Fleet(self.machines, self.rounds + 2, sources=able)

    @cached_property
    def keys(self) -> list[Signer]:
        """The key of each machine."""
        return signers(self.kind, self.machines)

    def nonce(self, machine: int, number: int) -> bytes:
        """What a machine was asked before a boot."""
        return digest("sha256", f"{machine} {number}".encode())

    def enroll(self, path: Path, *, challenged: bool = True) -> None:
        """Makes a store with baselines, keys and, where the quotes are to be fresh, challenges."""
        learn_into(path, self.fleet)
        keys, states, challenges = [], [], []
        with Store.open(str(path)) as store:
            for machine, (boot, key) in enumerate(zip(self.fleet.round(1), self.keys, strict=True)):
                name = name_of(key.public) or b""
                keys.append({"ak_name": name, "machine": boot.machine, "public": key.public, "since": 0})
                states.append({"ak_name": name, **_ENROLLED})
                for number in self._numbers if challenged else ():
                    asked = AS_OF - datetime.timedelta(minutes=self.rounds + 2 - number)
                    challenges.append(Challenge(name, self.nonce(machine, number), asked, boot.machine))
            # Rows as `Enrollment.enroll` writes them, which makes a change of its own of each.
            with store.changing("enroll", None) as (connection, change):
                for table, rows in ((schema.enrolled, keys), (schema.key_state, states)):
                    connection.execute(table.insert(), [{**row, "change": change} for row in rows])
            Ledger(store).add(challenges)

    @property
    def _numbers(self) -> range:
        return range(2, self.rounds + 2)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[tuple[pa.RecordBatch, pa.RecordBatch]]:
        """The evidence, with quotes and without."""
        boots = (boot for number in self._numbers for boot in self.fleet.round(number))
        first = 0
        for batch in record_batches(boots, rows):
            values = replay(batch.column("event_log"), [self.bank]).values[self.bank]
            quotes = [[self._quote(first + row, values[row])] for row in range(len(batch))]
            field = evidence_schema().field(_AT)
            yield batch.set_column(_AT, field, pa.array(quotes, field.type)), batch
            first += len(batch)

    def _quote(self, boot: int, values: npt.NDArray[np.uint8]) -> dict[str, bytes]:
        number, machine = self._numbers[boot // self.machines], boot % self.machines
        quoted = values[:_PCRS].tobytes()
        key = self.keys[machine]
        nonce = self.nonce(machine, number)
        message = attest(self.kind.hash_name, self.bank, quoted, nonce, clock=number * 1000, resets=number)
        return {"msg": message, "sig": key.sign(message), "ak_pub": key.public, "pcrs": quoted}
