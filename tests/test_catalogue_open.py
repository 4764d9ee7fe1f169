"""What entries of the catalogue ask for and nothing gives yet: a test that begins to pass here fails, and moves."""

from __future__ import annotations

import datetime

import pytest
from attested_machine import LOG_ONLY, NOW, Machine, codes, job, store_of
from catalogue.ima import FILES, HONEST, LOG, START
from test_ima_appraisal import set_of

from pyverify.evidence.bundle import ImaList


@pytest.mark.xfail(
    strict=True, raises=AssertionError, reason="the second pass does not hold IMA lists of one boot against each other"
)
def test_090_a_list_that_shrinks_within_a_boot(tmp_path):
    machine = Machine(log=LOG)
    references = machine.references(baselines=[machine.baseline(ima=set_of(HONEST))])
    evidence = [
        machine.evidence(quotes=None, ima=[ImaList("binary", data)], collected_at=NOW + datetime.timedelta(hours=hours))
        for hours, data in enumerate((START + FILES[0], HONEST, START + FILES[0]))
    ]
    with store_of(tmp_path / "s", machine) as store:
        first, longer, shorter = job(store, *evidence, policy=LOG_ONLY, references=references)
    if not first["verdict"] == longer["verdict"] == "trusted":
        pytest.fail("a list that grows is honest")
    assert "ima.shrunk" in codes(shorter)
