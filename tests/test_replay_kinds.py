"""``replay`` of other logs than a TPM's: registers of confidential computing, canonical logs, IMA lists alone."""

from __future__ import annotations

import json

import pytest
from cel_writers import cel_json, cel_tlv, systemd_record
from conftest import ALGORITHMS, DATA, entry, hash_of, replay_by_hand, shared, small_log, spec_id
from log_editor import events_of

from pyverify.cli.main import main

BANKS = ["sha1", "sha256"]


@pytest.fixture
def run(capfd):
    def call(*args):
        code = main(["replay", *map(str, args)])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_registers_of_confidential_computing_are_replayed_by_index(run, tmp_path):
    path = tmp_path / "CCEL"
    log = spec_id(["sha384"]) + entry(1, 0xD, b"one", ["sha384"]) + entry(3, 0xD, b"two", ["sha384"])
    path.write_bytes(b"\1" + log[1:])
    code, out, _ = run(path, "--format", "json")
    assert code == 0
    zeros = bytes(48)
    extended = {
        number: hash_of("sha384", zeros + hash_of("sha384", data)) for number, data in ((1, b"one"), (3, b"two"))
    }
    wanted = {str(number): extended.get(number, zeros).hex() for number in range(1, 5)}  # MRTD is in no log
    assert json.loads(out) == {str(path): {"fault": None, "banks": {"sha384": wanted}}}
    assert f"RTMR2: {extended[3].hex()}" in run(path)[1]
    (tmp_path / "pcrs").write_text(f"sha384 1 {extended[1].hex()}\n")
    assert run(path, "--pcrs", tmp_path / "pcrs")[0] == 2
    path.write_bytes(b"\1" + log[1:-1])
    code, out, err = run(path, "--format", "json")
    assert code == 3
    assert str(path) in err
    assert json.loads(out)[str(path)]["banks"] == {}
    assert json.loads(out)[str(path)]["fault"]["code"] == "log.truncated"


def test_the_corpus_says_where_its_logs_of_confidential_computing_lead(run):
    corpus = shared("corpus")
    seen = 0
    for record in json.loads((corpus / "manifest.json").read_text()):
        computed = record.get("computed_pcrs") or {}
        if record["kind"] != "ccel" or not computed.get("sha384"):
            continue
        path = corpus / record["file"]
        code, out, err = run(path, "--kind", "ccel", "--format", "json")
        assert code == 0, err
        values = json.loads(out)[str(path)]["banks"]["sha384"]
        told = {number: value.removeprefix("0x") for number, value in computed["sha384"].items() if number != "0"}
        assert told
        assert told.items() <= values.items()
        seen += 1
    assert seen > 3


@pytest.mark.parametrize("write", [cel_tlv, cel_json])
def test_a_canonical_log_leads_where_the_log_does_that_it_was_made_of(run, tmp_path, write):
    log = small_log(BANKS)
    (tmp_path / "cel").write_bytes(write(events_of(log)))
    banks = json.loads(run(tmp_path / "cel", "--format", "json")[1])[str(tmp_path / "cel")]["banks"]
    by_hand = replay_by_hand(log)
    assert banks == {bank: {str(pcr): by_hand[bank][pcr].hex() for pcr in range(24)} for bank in BANKS}


TOLD = json.loads((DATA / "ima" / "pcrs.json").read_text())


@pytest.mark.parametrize("name", TOLD)
def test_a_list_alone_leads_to_what_the_tpm_said(run, tmp_path, name):
    told = TOLD[name]
    path = next((DATA / "ima").glob(f"{name}.binary*"))
    (tmp_path / "pcrs").write_text("".join(f"{bank} 10 {value}\n" for bank, value in told["pcr10"].items()))
    code, out, err = run(path, "--pcrs", tmp_path / "pcrs", "--format", "json")
    assert code == 0, err
    banks = json.loads(out)[str(path)]["banks"]
    assert set(banks) == set(ALGORITHMS)
    assert err.count("is reached after") == len(told["pcr10"])
    for bank, value in told["pcr10"].items():
        line = next(line for line in err.splitlines() if f" {bank} PCR 10" in line)
        assert ("padded" in line) is (banks[bank]["10"] != value)


def test_a_list_that_leads_elsewhere_is_1(run, tmp_path):
    path = DATA / "ima" / "ima-sig.binary"
    (tmp_path / "pcrs").write_text(f"sha256 10 {'11' * 32}\n")
    code, _, err = run(path, "--pcrs", tmp_path / "pcrs")
    assert code == 1
    assert "no part of the list leads to 1111" in err
    (tmp_path / "pcrs").write_text(f"sha256 10 {'00' * 32}\n")  # a TPM that nothing extended has no such list
    assert run(path, "--pcrs", tmp_path / "pcrs")[0] == 1
    (tmp_path / "pcrs").write_text(f"sha256 7 {'11' * 32}\n")
    assert run(path, "--pcrs", tmp_path / "pcrs")[0] == 2
    (tmp_path / "list").write_bytes(path.read_bytes()[:-1])
    code, out, err = run(tmp_path / "list", "--format", "json", "--pcrs", tmp_path / "pcrs")
    assert code == 3
    assert json.loads(out)[str(tmp_path / "list")]["fault"]["code"] == "ima.truncated"


def test_what_leads_nowhere_alone_is_refused(run, tmp_path):
    (tmp_path / "log").write_bytes(systemd_record(11, "ready", BANKS))
    code, out, err = run(tmp_path / "log")
    assert (code, out) == (2, "")
    assert "userspace log" in err
    code, out, err = run(DATA / "quotes" / "rsassa" / "quote.msg")
    assert (code, out) == (2, "")
    assert "quote" in err
