"""IMA lists of our recordings and of other people: what their TPMs held, and what is broken in them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from conftest import ALGORITHMS, DATA, hash_of, shared
from ima_by_hand import (
    a_digest,
    columns_of,
    data_of,
    entry,
    fault_of,
    legacy,
    row,
)

from pyverify.algorithms import bank as bank_of
from pyverify.evidence.columns import Ragged
from pyverify.evidence.ima import scan
from pyverify.evidence.ima_relabelled import relabelled
from pyverify.evidence.ima_replay import BootAggregate, ImaReplay, Mode, boot_aggregate

LISTS = sorted(path for path in (DATA / "ima").iterdir() if path.suffix != ".json")
PCRS = json.loads((DATA / "ima" / "pcrs.json").read_text())


# What the TPM held: our recordings.


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_a_recorded_list_leads_to_what_the_tpm_held_in_every_bank(path):
    columns = columns_of(path.read_bytes(), format=path.suffix[1:])
    assert fault_of(columns) is None
    expected = {bank: bytes.fromhex(value) for bank, value in PCRS[path.stem]["pcr10"].items()}
    found = ImaReplay(columns).find_prefix({bank: row(value) for bank, value in expected.items()})
    assert found.proven.tolist() == [len(columns.entries)]
    assert found.entries(columns).all()
    for bank, value in expected.items():
        assert found.values[bank].tobytes() == value, bank
    assert not ImaReplay(columns).mismatches().any()


def test_all_recordings_lead_to_what_the_tpm_held_in_one_batch():
    folder = shared("recordings")
    files = sorted(folder.glob("*/ima/*_runtime_measurements*"))
    assert len(files) > 150
    formats = [file.name.replace("_runtime_measurements", "") for file in files]
    columns = scan(Ragged.of([file.read_bytes() for file in files]), formats)
    targets = {name: np.zeros((len(files), size), np.uint8) for name, (_, size) in ALGORITHMS.items()}
    given_ = {name: np.zeros(len(files), np.bool_) for name in ALGORITHMS}
    for i, file in enumerate(files):
        for line in (file.parent.parent / "pcrs_after_logs.txt").read_text().splitlines():
            name, pcr, value = line.split()
            if pcr == "10":
                targets[bank_of(name).name][i] = np.frombuffer(bytes.fromhex(value), np.uint8)
                given_[bank_of(name).name][i] = True
    replayed = ImaReplay(columns)
    found = replayed.find_prefix(targets, given=given_)
    assert not columns.rows["fault"].any()
    assert found.proven.tolist() == columns.rows["n_entries"].tolist()
    assert not replayed.mismatches().any()
    assert not relabelled(columns).any()
    assert given_["sm3_256"].sum() >= 5
    modes = {(bank, mode) for bank in found.modes for mode in found.modes[bank][given_[bank]].tolist()}
    assert {("sm3_256", Mode.OWN), ("sm3_256", Mode.PADDED), ("sha384", Mode.PADDED_DIGESTS)} <= modes


def test_a_text_list_and_its_binary_form_have_equal_entries():
    folder = shared("recordings")
    for text in sorted(folder.glob("*/ima/ascii_runtime_measurements*")):
        binary = text.parent / text.name.replace("ascii", "binary")
        formats = [name.replace("_runtime_measurements", "") for name in (text.name, binary.name)]
        columns = scan(Ragged.of([text.read_bytes(), binary.read_bytes()]), formats)
        assert columns.lists[0] == columns.lists[1] == binary.read_bytes()


def test_a_list_longer_than_the_quote_is_proven_up_to_the_quote():
    folder = shared("recordings", "27_ima_list_longer_than_quote")
    data = (folder / "ima" / "binary_runtime_measurements").read_bytes()
    targets = {}
    for line in (folder / "pcrs_before.txt").read_text().splitlines():
        name, pcr, value = line.split()
        if pcr == "10":
            targets[bank_of(name).name] = row(bytes.fromhex(value))
    columns = columns_of(data)
    found = ImaReplay(columns).find_prefix(targets)
    assert found.proven.tolist() == [57]
    assert found.entries(columns).tolist() == [True] * 57 + [False] * 5


# What other people's TPMs held, and other people's broken lists.


def _corpus(folder: str = "."):
    root = shared("corpus", folder)
    records = json.loads((root / "manifest.json").read_text())
    for record in records:
        if record["kind"].startswith("ima-"):
            bank = (record.get("banks") or ["sha1"])[0]
            kind = {"ima-bin": "binary", "ima-ascii": "ascii"}[record["kind"]]
            data = (shared("corpus") / record["file"]).read_bytes()
            yield record, columns_of(data, format=kind if bank == "sha1" else f"{kind}_{bank}")


# Quoted in a test's source, where the trailing blanks of ima-sig lines were lost: no kernel writes such a list.
_WITHOUT_TRAILING_BLANKS = ("test_ima_verification.ima.txt", "test_ima_ast.ima.txt")


def test_every_list_of_the_corpus_has_the_entries_and_values_of_the_manifest():
    seen = compared = 0
    for record, columns in _corpus():
        if record["file"].endswith(_WITHOUT_TRAILING_BLANKS):
            assert fault_of(columns)[0] == "ima.format", record["file"]
            continue
        replayed = ImaReplay(columns)
        census = record["census"]
        assert fault_of(columns) is None, record["file"]
        assert len(columns.entries) == record["n_events"], record["file"]
        assert columns.rows["n_violations"][0] == census["violations"], record["file"]
        assert replayed.mismatches().sum() == census["template_hash_bad"], record["file"]
        stated = (record.get("expected_pcrs") or {}).get("values", {})
        if targets := {bank: row(bytes.fromhex(pcrs["10"])) for bank, pcrs in stated.items() if "10" in pcrs}:
            assert replayed.find_prefix(targets).proven.tolist() == [record["n_events"]], record["file"]
            compared += len(targets)
        seen += 1
    assert seen >= 22
    assert compared >= 20


MALFORMED = {
    "sml-ima-ng-sha1.bin": ("ima.truncated", 558, 6),
    "sml-ima-sha1.bin": ("ima.truncated", 916, 12),
    "sml-ima-sig-sha256.bin": ("ima.truncated", 987, 9),
    "invalid_ima_log.txt": ("ima.format", 0, 0),
    "ima-log-unknown": ("ima.format", 3, 0),  # its digests are SHA-256's, its name says nothing of it
    "ima-log-sm3_256": ("ima.format", 3, 0),
    "test_ima_verification.py": ("ima.format", 124, 0),
}


def test_malformed_lists_of_the_corpus_have_a_fault_or_a_finding():
    seen = set()
    for record, columns in _corpus("malformed"):
        name = next((name for name in MALFORMED if record["file"].endswith(name)), None)
        if name:
            code, at, entries = MALFORMED[name]
            assert (*fault_of(columns), len(columns.entries)) == (code, at, entries), record["file"]
            seen.add(name)
        elif "invalidated" in record["file"]:
            assert columns.rows["n_violations"][0] == 1
        else:
            assert np.flatnonzero(ImaReplay(columns).mismatches()).tolist() == [208]
    assert seen == set(MALFORMED)


# Known answers.


def test_template_digests_of_the_known_entry():
    answers = json.loads((DATA / "kat.json").read_text())
    data = bytes.fromhex(
        "280000007368613235363a000000000000000000000000000000000000000000000000000000000000000000"
        "0f000000626f6f745f61676772656761746500"
    )
    replayed = ImaReplay(columns_of(entry(data)))
    assert replayed.template_digest(0, "sha1").hex() == "0adefe762c149c7cec19da62f0da1297fcfbffff"
    assert replayed.template_digest(0, "sm3_256").hex().startswith("68c21044639a8677")
    known = json.dumps(answers)
    for bank in ALGORITHMS:
        assert replayed.template_digest(0, bank).hex() in known, bank
        assert replayed.replay(bank).tobytes().hex() in known, bank
        assert replayed.replay(bank, mode=Mode.PADDED).tobytes().hex() in known, bank


def test_a_legacy_entry_is_hashed_with_its_name_padded():
    columns = columns_of(legacy(b"boot_aggregate", bytes(20)))
    assert ImaReplay(columns).template_digest(0, "sha1").hex() == "719de8e521439498e9b77f6ed41e230b9821111e"
    longest = legacy(b"/" + b"x" * 254, a_digest(1, "sha1"))
    assert not ImaReplay(columns_of(longest)).mismatches().any()
    assert fault_of(columns_of(legacy(b"/" + b"x" * 255, bytes(20)))) == ("ima.format", 4 + 20 + 4 + 3 + 20)


def test_one_violation_extends_ones():
    columns = columns_of(entry(data_of("/x", bytes(32)), shown=bytes(20)))
    known = (DATA / "kat.json").read_text()
    for bank in ALGORITHMS:
        value = ImaReplay(columns).replay(bank).tobytes()
        assert value == hash_of(bank, bytes(ALGORITHMS[bank][1]) + b"\xff" * ALGORITHMS[bank][1])
        assert value.hex() in known


def test_recorded_boot_aggregates_fit_the_recorded_logs():
    from pyverify.replay import replay as replay_logs

    folders = [path for path in sorted(shared("recordings").iterdir()) if (path / "ima").is_dir()]
    logs = Ragged.of([(path / "binary_bios_measurements").read_bytes() for path in folders])
    columns = columns_of(*((path / "ima" / "binary_runtime_measurements").read_bytes() for path in folders))
    replayed = replay_logs(logs)
    given_ = {bank: replayed.has_bank(bank) for bank in ALGORITHMS}
    found = boot_aggregate(columns, replayed.values, given=given_)
    names = {path.name[:2]: BootAggregate(value) for path, value in zip(folders, found.tolist(), strict=True)}
    assert names.pop("49") == BootAggregate.ZEROS
    assert names.pop("22") == BootAggregate.NO_BANK  # there is no event log
    sha1 = {number for number, value in names.items() if value == BootAggregate.PCRS_0_7}
    assert sha1 == {"31", "32"}
    assert {number for number, value in names.items() if value != BootAggregate.PCRS_0_9} == sha1
