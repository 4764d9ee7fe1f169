"""``baseline export`` and ``import``: out of one store and into another, verdicts stay as they are."""

from __future__ import annotations

import json

import pytest
from baselines_by_hand import BANKS, baseline
from conftest import small_log
from test_lifecycle import ALL, NOW, OLD, WHO, kernel_edit

from pyverify import EventLog, Evidence, Policy, Store, verify
from pyverify.algorithms import PCRS
from pyverify.baseline.lifecycle import Lifecycle
from pyverify.baseline.model import Origin
from pyverify.replay import replay

POLICY = Policy.preset("log-only")
LOG = small_log(BANKS)


@pytest.fixture
def store(tmp_path):
    """A store with two machines and a cohort, after an approval."""
    path = tmp_path / "one.db"
    with Store.open(str(path), create=True) as store:
        store.add([baseline("a"), baseline("b"), baseline("web", scope="cohort")], action="learn")
        Lifecycle(store).approve(ALL, [kernel_edit()], at=NOW, old=OLD, **WHO)
    return path


def verdict(path, machine, log):
    with Store.open(str(path)) as store:
        evidence = Evidence(machine, "1", event_log=log)
        return verify(evidence, references=store.references(), policy=POLICY, as_of=NOW).outcome


def test_own_json_carries_all(run, store, tmp_path):
    file, other = tmp_path / "b.json", tmp_path / "two.db"
    assert run("baseline", "export", "-o", file, "--store", store)[0] == 0
    words = ("baseline", "import", file, "--activate", "--reason", "moved here", "--who", "ops", "--store", other)
    assert run(*words)[0] == 0
    for log, outcome in ((LOG, "trusted"), (small_log(BANKS, command_line=b"quiet splash"), "trusted")):
        assert verdict(other, "a", log) == outcome
    assert verdict(other, "a", small_log(BANKS, command_line=b"evil")) == "untrusted"
    rows = json.loads(run("baseline", "list", "--store", other, "--format", "json")[1])
    assert {(row["id"], row["origin"], row["state"]) for row in rows} == {
        ("a", Origin.IMPORTED, "active"),
        ("b", Origin.IMPORTED, "active"),
    }
    code, _, err = run(*words)
    assert code == 4
    assert "exists already" in err


def test_what_is_imported_waits_unless_it_is_activated(run, store, tmp_path):
    file, other = tmp_path / "b.json", tmp_path / "two.db"
    run("baseline", "export", "a", "-o", file, "--store", store)
    assert run("baseline", "import", file, "--store", other)[0] == 2  # no reason given
    assert run("baseline", "import", file, "--reason", "x", "--store", other)[0] == 0
    assert verdict(other, "a", LOG) == "unmeasured"


def test_tpm_policy_is_of_values_and_of_a_named_bank(run, store, tmp_path):
    file, other = tmp_path / "p.json", tmp_path / "two.db"
    code, out, _ = run("baseline", "export", "a", "--format", "keylime-policy", "--store", store)
    assert code == 0
    value = replay([small_log(BANKS, command_line=b"quiet splash")], ["sha256"]).values["sha256"][0, 8]
    assert json.loads(out)["8"] == [value.tobytes().hex()]
    file.write_text(out)
    words = ("baseline", "import", file, "--format", "keylime-policy", "--name", "a", "--reason", "x", "--activate")
    assert run(*words, "--store", other)[0] == 2  # which hash these are is nowhere in the file
    assert run(*words, "--bank", "sha256", "--store", other)[0] == 0
    assert verdict(other, "a", small_log(BANKS, command_line=b"quiet splash")) == "trusted"
    assert verdict(other, "a", LOG) == "untrusted"  # it is leaving, and that form cannot say so


def test_pcrlock_files_are_a_folder(run, store, tmp_path):
    folder = tmp_path / "lock"
    assert run("baseline", "export", "a", "--format", "pcrlock", "--store", store)[0] == 2
    words = ("baseline", "export", "a", "--format", "pcrlock", "-o", folder)
    code, _, err = run(*words, "--store", store)
    assert (code, err.count("exported")) == (0, 1)
    assert run(*words, "--store", store)[0] == 2  # not into a folder that has files
    assert {path.suffix for path in folder.rglob("*") if path.is_file()} == {".pcrlock"}


def test_corim_is_written_for_all(run, store):
    cbor2 = pytest.importorskip("cbor2")
    import io

    from pyverify.cli.main import main

    out = io.TextIOWrapper(io.BytesIO())
    import contextlib

    with contextlib.redirect_stdout(out):
        assert main(["baseline", "export", "--format", "corim", "--store", str(store)]) == 0
    assert cbor2.loads(out.buffer.getvalue()).tag == 501


def test_unknown_names_are_told(run, store):
    code, _, err = run("baseline", "export", "nobody", "--store", store)
    assert (code, "nobody" in err) == (2, True)
    assert run("baseline", "show", "nobody", "--store", store)[0] == 2
    assert run("baseline", "history", "nobody", "--store", store)[0] == 2


def test_a_baseline_is_shown_whole(run, store):
    code, out, _ = run("baseline", "show", "a", "--store", store, "--format", "json")
    found = json.loads(out)
    assert (code, found["version"], found["origin"]) == (0, 2, "approved")
    assert len(found["pcrs"]) == PCRS
    assert [member["until"] is None for member in found["pcrs"]["8"]] == [False, True]
    log = EventLog.parse(small_log(BANKS, command_line=b"quiet splash"))
    wanted = [event.digests["sha256"].hex() for event in log.events if event.pcr == 8]
    assert [event["digests"]["sha256"] for event in found["pcrs"]["8"][1]["events"]] == wanted
    assert "kernel_cmdline: quiet splash" in run("baseline", "show", "a", "--store", store)[1]


def test_references_are_written_for_workers(run, store, tmp_path):
    from pyverify import References

    code, _, err = run("baseline", "export-references", "-o", tmp_path / "r.arrow", "--store", store)
    assert code == 0
    assert References.load(tmp_path / "r.arrow").id.hex() in err


def test_a_reference_state_vouches_for_first_boots(run, tmp_path):
    """Boots that it allows are learned as imported; a tampered one is refused, and so is none of its own making."""
    import shutil
    import tarfile

    from pyverify.cli.demo import SAMPLE

    with tarfile.open(SAMPLE) as tar:
        tar.extractall(tmp_path / "sample", filter="data")
    log = "binary_bios_measurements"
    for machine, boot in (("good", "web-1/boot-1"), ("evil", "web-1/boot-5")):
        (tmp_path / "fleet" / machine / "1").mkdir(parents=True)
        shutil.copy(tmp_path / "sample" / boot / log, tmp_path / "fleet" / machine / "1")
    state, store = tmp_path / "refstate.json", tmp_path / "s.db"
    words = ("--format", "keylime-refstate", "--log", tmp_path / "sample" / "web-1" / "boot-2" / log)
    assert run("baseline", "export", *words, "-o", state, "--store", store)[0] == 0
    words = ("baseline", "import", state, "--format", "keylime-refstate", "--reason", "golden", "--store", store)
    assert run(*words)[0] == 2  # it says nothing of which machine
    code, out, err = run(*words, "--archive", tmp_path / "fleet", "--policy", "log-only", "--activate")
    assert (code, err.split(" · ")[0].startswith("1 baseline imported")) == (0, True)
    assert "evil  refused: " in out
    assert "good  learned, with " in out
    rows = json.loads(run("baseline", "list", "--store", store, "--format", "json")[1])
    assert [(row["id"], row["origin"], row["state"]) for row in rows] == [("good", "imported", "active")]
