"""CoRIM: an unsigned manifest with a CoMID for each baseline, whose PCRs are integrity registers (SPEC section 9.3).

How the drafts (draft-ietf-rats-corim) are read here:

* a reference triple is one state that an environment may be in, and other states are other triples: so a baseline is as
  many triples as there are combinations of what its PCRs may hold, each with one measurement of all registers;
* the digests of a register are of one state in several banks: those that evidence has too must all agree. Values of
  one bank that exclude each other are therefore never digests of one register;
* digests are tagged with IANA's numbers for named information. SHA-1 and SM3 have none and go by their TCG names.

A machine is the environment's instance, a cohort its group, both as tagged bytes. There is no URI in a manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from itertools import product
from math import prod
from types import ModuleType
from typing import Any, Final

from pyverify.algorithms import BY_NAME
from pyverify.baseline.interchange.imported import (
    check_bank,
    check_identity,
    chosen_bank,
    chosen_pcrs,
    current,
    value_of,
)
from pyverify.baseline.model import Baseline
from pyverify.errors import UsageError
from pyverify.evidence.pcrs import pcr_name

MAX_STATES: Final = 256
"""Triples of one baseline: four PCRs of four values each."""

_CORIM, _COMID, _BYTES = 501, 506, 560  # CBOR tags
_ID, _TAGS = 0, 1  # of a manifest
_TAG_IDENTITY, _TRIPLES = 1, 4  # of a CoMID
_TAG_ID, _TAG_VERSION = 0, 1
_REFERENCE = 0
_ENVIRONMENT: Final = {"machine": 1, "cohort": 2}  # instance and group
_VALUE, _REGISTERS = 1, 14  # of a measurement, of its value
# IANA, Named Information Hash Algorithm Registry.
_ALGORITHMS: Final[dict[str, int | str]] = {"sha256": 1, "sha384": 7, "sha512": 8}


def export(baselines: Iterable[Baseline], *, pcrs: Iterable[int], banks: Iterable[str] | None = None) -> bytes:
    """The manifest of these baselines, in the deterministic encoding of CBOR.

    Args:
        baselines: at least one.
        pcrs: the PCRs to tell of: a verifier takes registers that are not told of for good.
        banks: in which; by default in all of the baseline's that a PCR's current sequences share, PCR by PCR.

    Raises:
        UsageError: ``cbor2`` is not installed; a PCR has no allowed value, none in such a bank, or events that may have
            any digest; a baseline has more than ``MAX_STATES`` combinations; no baseline, or one twice.
    """
    cbor = _cbor()
    chosen = chosen_pcrs(pcrs)
    wanted = None if banks is None else [chosen_bank(bank) for bank in banks]
    ordered = sorted(baselines, key=lambda b: (b.scope, b.id, b.version))
    keys = [(b.scope, b.id, b.version) for b in ordered]
    if not keys or len(set(keys)) < len(keys):
        raise UsageError("a manifest is of at least one baseline, and of each once")
    comids = [cbor.dumps(_comid(cbor, baseline, chosen, wanted), canonical=True) for baseline in ordered]
    tags = [cbor.CBORTag(_COMID, comid) for comid in comids]
    name = "pyverify:" + hashlib.sha256(b"".join(comids)).hexdigest()
    data: bytes = cbor.dumps(cbor.CBORTag(_CORIM, {_ID: name, _TAGS: tags}), canonical=True)
    return data


def _cbor() -> ModuleType:
    try:
        import cbor2
    except ImportError as error:
        raise UsageError("CoRIM needs the package cbor2: pip install 'pyverify[corim]'") from error
    return cbor2


def _comid(cbor: ModuleType, baseline: Baseline, pcrs: list[int], banks: list[str] | None) -> dict[int, Any]:
    check_identity(baseline.scope, baseline.id)
    for bank in banks or ():
        check_bank(baseline, bank)
    choices = [_choices(baseline, pcr, banks) for pcr in pcrs]
    if (count := prod(map(len, choices))) > MAX_STATES:
        who = f"{baseline.scope} {baseline.id}"
        raise UsageError(f"{who}: its PCRs combine to {count} states; allowed are {MAX_STATES}: tell of fewer PCRs")
    environment = {_ENVIRONMENT[baseline.scope]: cbor.CBORTag(_BYTES, baseline.id.encode())}
    triples = [
        [environment, [{_VALUE: {_REGISTERS: dict(zip(pcrs, state, strict=True))}}]] for state in product(*choices)
    ]
    name = f"pyverify/{baseline.scope}/{baseline.id}"
    return {_TAG_IDENTITY: {_TAG_ID: name, _TAG_VERSION: baseline.version}, _TRIPLES: {_REFERENCE: triples}}


def _choices(baseline: Baseline, pcr: int, banks: list[str] | None) -> list[list[list[int | str | bytes]]]:
    """What a PCR may hold: each choice its digests, in the banks that all of them have."""
    states = []
    for sequence in current(baseline, pcr):
        values = ((bank, value_of(sequence, bank)) for bank in (baseline.log_banks if banks is None else banks))
        states.append({bank: value for bank, value in values if value is not None})
    shared = [bank for bank in BY_NAME if all(bank in state for state in states)]
    if not shared or (banks is not None and set(banks) != set(shared)):
        words = "share no bank" if banks is None else f"are not all known in {', '.join(banks)}"
        raise UsageError(f"{baseline.scope} {baseline.id}: the values of {pcr_name(pcr)} {words}")
    distinct = dict.fromkeys(tuple((bank, state[bank]) for bank in shared) for state in states)
    return [[[_ALGORITHMS.get(bank, bank), value] for bank, value in state] for state in distinct]
