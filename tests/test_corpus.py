"""Other people's logs: events, PCR values and faults against what the corpus' own reader and its TPMs say."""

from __future__ import annotations

import json

import pytest
from conftest import shared

from pyverify import EventLog
from pyverify.algorithms import BY_NAME
from pyverify.replay import replay

# Where the manifest and this package differ, and who is right, found out by hand:
#  - Windows closes the SHA-1 bank itself: its TPM shows H(replay || 20 zero bytes), its log does not say so (SPEC 0.2).
#    The log's replay is what the log says; the TPM's value is not in it.
_CAPPED = ("IMN-SUPERMICRO-EPP-MSDefender", "IMN-SUPERMICRO-WBCL-Quote-AIKs", "supermicro-WBCL-OSLOAD-quoted")


def _manifest(kinds):
    corpus = shared("corpus")
    return corpus, [r for r in json.loads((corpus / "manifest.json").read_text()) if r["kind"] in kinds]


def test_every_log_has_the_events_and_values_of_the_manifest():
    corpus, records = _manifest(("tcg1", "tcg2"))
    assert len(records) == 70
    compared = 0
    for record in records:
        log = EventLog.parse((corpus / record["file"]).read_bytes())
        assert len(log) == record["n_events"], record["file"]
        assert log.format == record["format"], record["file"]
        assert list(log.banks) == sorted(record["banks"], key=lambda name: BY_NAME[name].index), record["file"]
        values = log.replay()
        for bank, pcrs in record["computed_pcrs"].items():
            for pcr, value in pcrs.items():
                assert values[bank][int(pcr)].tobytes().hex() == value, (record["file"], bank, pcr)
                compared += 1
    assert compared > 1000


def test_values_that_a_tpm_or_a_test_table_states():
    corpus, records = _manifest(("tcg1", "tcg2"))
    compared = 0
    for record in records:
        values = EventLog.parse((corpus / record["file"]).read_bytes()).replay()
        for bank, pcrs in (record.get("expected_pcrs") or {}).get("values", {}).items():
            touched = record["census"]["pcrs_touched"]
            for pcr, value in pcrs.items():
                if bank not in values or int(pcr) not in touched:
                    continue
                if bank == "sha1" and any(name in record["file"] for name in _CAPPED):
                    continue
                assert values[bank][int(pcr)].tobytes().hex() == value.lower(), (record["file"], bank, pcr)
                compared += 1
    assert compared > 400


def test_windows_caps_its_sha1_bank():
    """The exception above, shown to be what it is taken for: H(replay || zeros) is what the TPM holds."""
    import hashlib

    corpus, records = _manifest(("tcg2",))
    capped = 0
    for record in records:
        expected = (record.get("expected_pcrs") or {}).get("values", {}).get("sha1", {})
        if not any(name in record["file"] for name in _CAPPED) or not expected:
            continue
        values = EventLog.parse((corpus / record["file"]).read_bytes()).replay(["sha1"])["sha1"]
        for pcr in map(str, range(8)):
            assert hashlib.sha1(values[int(pcr)].tobytes() + bytes(20)).hexdigest() == expected[pcr].lower()
            capped += 1
    assert capped >= 16


def test_a_confidential_computing_log_is_a_fault():
    """Its indices are not PCRs. One TDVF of the corpus writes index 0 in its header: nothing in it says what it is."""
    corpus, records = _manifest(("ccel",))
    for record in records:
        data = (corpus / record["file"]).read_bytes()
        fault = EventLog.read(data).fault
        if record["file"].endswith("/CCEL_data"):
            assert fault is None
        else:
            assert fault is not None and (fault.code, fault.offset) == ("log.not-a-log", 0), record["file"]


MALFORMED = {
    "tpm2-software__tpm2-tools__specid-vendordata.bin": ("log.header", 68),  # vendorInfoSize runs past the event
    "keylime__keylime__binary_bios_measurements-bogus": ("log.not-a-log", 0),
    "tpm2-software__tpm2-tss__specid-vendordata.bin": None,  # the same header with its right size
}


@pytest.mark.parametrize(("name", "fault"), MALFORMED.items(), ids=MALFORMED)
def test_malformed_logs_get_their_fault_and_leave_the_row_beside_alone(name, fault):
    bad = (shared("corpus", "malformed") / name).read_bytes()
    good = (shared("recordings") / "01_m1_first_boot" / "binary_bios_measurements").read_bytes()
    alone, together = replay([good]), replay([good, bad, good])
    read = EventLog.read(bad).fault
    assert (None if read is None else (read.code, read.offset)) == fault
    for row in (0, 2):
        assert together.logs["fault"][row] == 0
        for bank, values in together.values.items():
            assert (values[row] == alone.values[bank][0]).all()
    for values in together.values.values():
        assert fault is None or not values[1].any()


def test_an_empty_file_is_absent_not_trusted():
    from pyverify import EvidenceError

    empty = (shared("corpus", "malformed") / "keylime__keylime__binary_bios_measurements-empty").read_bytes()
    with pytest.raises(EvidenceError) as caught:
        EventLog.parse(empty)
    assert caught.value.code == "log.absent"
