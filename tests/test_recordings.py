"""Recorded boots: what the TPM itself said its PCRs were, in every bank, against the replay of the log."""

from __future__ import annotations

import json

import pytest
from conftest import DATA, replay_by_hand, shared

from pyverify import EventLog
from pyverify.algorithms import bank as bank_of
from pyverify.replay import replay

# PCR 10 is extended by IMA. 37 and 39 had PCRs extended by hand after boot; the recordings say so.
_NOT_IN_THE_LOG = {"37_pcr4_extended_by_hand": {("sha256", 4)}}
_BY_HAND = {"39_app_pcrs": {16, 23}}


def _tpm_values(path):
    for line in path.read_text().splitlines():
        name, pcr, value = line.split()
        yield bank_of(name).name, int(pcr), bytes.fromhex(value)


def test_every_recording_replays_to_what_its_tpm_says():
    folders = [p.parent for p in sorted(shared("recordings").glob("*/binary_bios_measurements")) if p.stat().st_size]
    logs = replay([(folder / "binary_bios_measurements").read_bytes() for folder in folders])
    assert len(folders) > 60
    assert not logs.logs["fault"].any()
    compared = 0
    for row, folder in enumerate(folders):
        for bank, pcr, value in _tpm_values(folder / "pcrs_after_logs.txt"):
            if pcr == 10:
                continue
            agrees = logs.values[bank][row, pcr].tobytes() == value
            by_hand = (bank, pcr) in _NOT_IN_THE_LOG.get(folder.name, ()) or pcr in _BY_HAND.get(folder.name, ())
            assert agrees != by_hand, (folder.name, bank, pcr)
            compared += 1
    assert compared > 5000


def test_banks_of_recordings_are_those_they_were_made_with():
    for folder in sorted(shared("recordings").glob("[0-9]*")):
        log = folder / "binary_bios_measurements"
        if not log.exists() or not log.stat().st_size:
            continue
        scenario = {bank_of(name).name for name in json.loads((folder / "verification.json").read_text())["banks"]}
        assert set(EventLog.parse(log.read_bytes()).banks) == scenario, folder.name


@pytest.mark.parametrize("path", sorted((DATA / "logs").glob("*.bin")), ids=lambda path: path.stem)
def test_a_second_reader_agrees(path):
    log = EventLog.parse(path.read_bytes())
    by_hand = replay_by_hand(path.read_bytes())
    assert set(by_hand) == set(log.banks)
    for bank, values in log.replay().items():
        assert {pcr: value.tobytes() for pcr, value in enumerate(values)} == by_hand[bank]
