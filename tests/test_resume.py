"""Runs that end early, by a kill, an interrupt or a full disk: nothing half written, nothing lost, nothing doubled."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from attested_machine import Machine
from conftest import small_log
from test_verify_quotes_cli import lay_out

from pyverify.fleet import job, journal
from pyverify.fleet.folder import FolderSource

BANKS = ["sha256"]
N = 30
DAY_1, DAY_2 = (("--as-of", f"2026-11-0{day}T08:00:00Z") for day in (1, 2))
EVIL = small_log(BANKS, command_line=b"init=/bin/sh")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYVERIFY_STORE", raising=False)
    monkeypatch.setattr(job, "BATCH_ROWS", 2)
    monkeypatch.setattr(journal, "_PART_ROWS", 4)


def add_boot(archive: Path, number: int, boot: int, log: bytes) -> None:
    lay_out(archive, f"m{number:02}", f"b{boot}", log, seq=boot)


@pytest.fixture
def fleet(run: Any, tmp_path: Path) -> Path:
    """Machines with baselines, of which one booted something else the second time."""
    for number in range(N):
        add_boot(tmp_path / "first", number, 1, small_log(BANKS, command_line=b"m%d" % number))
        add_boot(
            tmp_path / "archive", number, 2, EVIL if number == 17 else small_log(BANKS, command_line=b"m%d" % number)
        )
    assert run("learn", "first", "--policy", "log-only", *DAY_1, "--activate")[0] == 0
    return tmp_path / "archive"


def interrupt(run: Any, *arguments: object, batches: int = 9) -> tuple[int, str]:
    """A run that is interrupted while it reads."""
    true_batches = FolderSource.batches

    def stopping(self: FolderSource, **options: Any) -> Any:
        for number, batch in enumerate(true_batches(self, **options)):
            if number == batches:
                raise KeyboardInterrupt
            yield batch

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FolderSource, "batches", stopping)
        code, _, err = run("verify", *arguments)
    return code, err


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


LOG_ONLY = ("--policy", "log-only", "--format", "jsonl")


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interrupted_run_goes_on(run: Any, fleet: Path, tmp_path: Path, jobs: int) -> None:
    out = ("-o", "v.jsonl", "--jobs", jobs)
    assert run("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "whole.jsonl")[0] == 1
    code, err = interrupt(run, fleet, *LOG_ONLY, *DAY_2, *out)
    assert code == 130
    assert "--resume goes on" in err
    assert not (tmp_path / "v.jsonl").exists()
    parts = sorted(path.name for path in (tmp_path / "v.jsonl.partial").glob("part-*"))
    assert len(parts) >= 2
    assert not [path for path in (tmp_path / "v.jsonl.partial").iterdir() if path.name.startswith(".")]
    code, _, err = run("verify", fleet, *LOG_ONLY, *out, "--resume", "--summary", "s.json")
    assert code == 1
    assert "kept of the run before" in err
    summary = json.loads((tmp_path / "s.json").read_text())
    assert 8 <= summary["kept_rows"] <= 18
    assert rows_of(tmp_path / "v.jsonl") == rows_of(tmp_path / "whole.jsonl")
    assert len(rows_of(tmp_path / "v.jsonl")) == N
    assert not (tmp_path / "v.jsonl.partial").exists()


def test_what_was_interrupted_is_not_thrown_away_by_accident(run: Any, fleet: Path, tmp_path: Path) -> None:
    out = ("-o", "v.jsonl")
    interrupt(run, fleet, *LOG_ONLY, *DAY_2, *out)
    before = {path.name: path.read_bytes() for path in (tmp_path / "v.jsonl.partial").iterdir()}
    code, _, err = run("verify", fleet, *LOG_ONLY, *DAY_2, *out)
    assert code == 2
    assert "--resume" in err
    assert {path.name: path.read_bytes() for path in (tmp_path / "v.jsonl.partial").iterdir()} == before


def test_a_run_goes_on_under_what_it_began_with_only(run: Any, fleet: Path, tmp_path: Path) -> None:
    out = ("-o", "v.jsonl", "--resume")
    interrupt(run, fleet, *LOG_ONLY, *DAY_2, *out)
    for other, word in ((DAY_1, "as of 2026-11-02"), (("--policy", "archive"), "another policy")):
        code, _, err = run("verify", fleet, *LOG_ONLY, *out, *other)
        assert code == 2
        assert word in err
    (tmp_path / "more").mkdir()
    add_boot(tmp_path / "more", 99, 1, EVIL)
    run("learn", "more", "--policy", "log-only", *DAY_1, "--activate")
    code, _, err = run("verify", fleet, *LOG_ONLY, *out)
    assert code == 2
    assert "other references" in err
    assert not (tmp_path / "v.jsonl").exists()


def test_resume_needs_a_file(run: Any, fleet: Path) -> None:
    assert run("verify", fleet, *LOG_ONLY, "--resume")[0] == 2
    assert run("verify", fleet, *LOG_ONLY, "--resume", "-o", "/dev/null")[0] == 2


def test_resume_with_nothing_to_go_on_with_just_begins(run: Any, fleet: Path, tmp_path: Path) -> None:
    assert run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl", "--resume")[0] == 1
    assert len(rows_of(tmp_path / "v.jsonl")) == N


def test_evidence_that_changed_meanwhile_is_judged_as_it_is_now(run: Any, fleet: Path, tmp_path: Path) -> None:
    """What was kept is used for equal rows only: a boot that changed, came or went changes the verdicts."""
    interrupt(run, fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl")
    (fleet / "m02" / "b2" / "binary_bios_measurements").write_bytes(EVIL)
    add_boot(fleet, 4, 3, EVIL)
    shutil.rmtree(fleet / "m11")
    assert run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl", "--resume")[0] == 1
    assert run("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "whole.jsonl")[0] == 1
    found = rows_of(tmp_path / "v.jsonl")
    assert found == rows_of(tmp_path / "whole.jsonl")
    assert {row["machine"] for row in found if row["verdict"] == "untrusted"} == {"m02", "m04", "m17"}


def test_a_broken_journal_is_told(run: Any, fleet: Path, tmp_path: Path) -> None:
    interrupt(run, fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl")
    part = min((tmp_path / "v.jsonl.partial").glob("part-*"))
    whole = part.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"x" * 100):
        part.write_bytes(damaged)
        code, _, err = run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl", "--resume")
        assert code == 4
        assert part.name in err
    part.write_bytes(whole)
    (tmp_path / "v.jsonl.partial" / "journal.json").write_text("{}")
    assert run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl", "--resume")[0] == 4


SCRIPT = """
import json, os, signal, sys, threading, time
from pyverify.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs the tests may have it ignored
import pyarrow.parquet, pyarrow.compute, rich.console, rich.progress
import pyverify.cli.verify
from pyverify.fleet import folder, job, journal
job.BATCH_ROWS, journal._PART_ROWS = 2, 4
read, spent = folder.FolderSource.batches, job.spent
def slowly(self, **options):
    for batch in read(self, **options):
        time.sleep(0.01)
        yield batch
def spent_slowly(*arguments):
    time.sleep(0.01)
    return spent(*arguments)
folder.FolderSource.batches, job.spent = slowly, spent_slowly
for line in sys.stdin:
    after, by, argv = json.loads(line)
    began, child = time.monotonic(), os.fork()
    if not child:
        sys.stdout = sys.stderr = open("said", "w")
        if by:
            threading.Thread(target=lambda: (time.sleep(after), os.kill(os.getpid(), by)), daemon=True).start()
        code = main(argv)
        sys.stdout.flush()
        os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps([code, time.monotonic() - began]), flush=True)
"""
"""Runs each line of its input in a child, which a signal ends after so many seconds; slowed down, in small batches."""


class Runs:
    """Runs of ``verify`` in processes of their own, without waiting for imports each time."""

    def __init__(self) -> None:
        command, environment = [sys.executable, "-c", SCRIPT], os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)

    def __call__(self, *arguments: object, after: float = 0, by: int = 0) -> tuple[int, float]:
        """Exit code, or the signal below 0, and seconds; what it said is in the file ``said``."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([after, int(by), ["verify", *map(str, arguments)]]) + "\n")
        self._process.stdin.flush()
        code, seconds = json.loads(self._process.stdout.readline())
        return code, seconds

    def close(self) -> None:
        self._process.communicate()


@pytest.fixture
def runs(small_batches: None) -> Iterator[Runs]:
    found = Runs()
    yield found
    found.close()


def kill_often(
    runs: Runs, arguments: tuple[object, ...], kills: int, whole: list[dict[str, Any]], fresh: Any = lambda: None
) -> None:
    """Kills a run at random moments, and each that goes on with it; whatever comes out equals the undisturbed one."""
    chance = random.Random(1)
    _, lasts = runs(*arguments, "-o", "v.jsonl")
    assert rows_of(Path("v.jsonl")) == whole
    done = 0
    while done < kills:
        Path("v.jsonl").unlink()
        fresh()
        while True:
            by = signal.SIGKILL if done < kills else 0
            code, _ = runs(*arguments, "-o", "v.jsonl", "--resume", after=chance.uniform(0.01, lasts), by=by)
            if code != -signal.SIGKILL:
                break
            done += 1
            if Path("v.jsonl").exists():  # killed after the end
                break
        assert rows_of(Path("v.jsonl")) == whole, Path("said").read_text()
        shutil.rmtree("v.jsonl.partial", ignore_errors=True)


def test_killed_twenty_times_the_verdicts_are_those_of_an_undisturbed_run(run: Any, runs: Runs, fleet: Path) -> None:
    run("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "whole.jsonl")
    kill_often(runs, (fleet, *LOG_ONLY, *DAY_2), 20, rows_of(Path("whole.jsonl")))


@pytest.fixture
def quoted(run: Any, tmp_path: Path) -> Path:
    """Machines with keys that were asked twice; one answers the second time with a quote for another nonce."""
    for number in range(8):
        machine = Machine(f"q{number}")
        Path("ak.pub").write_bytes(machine.key.public)
        assert run("enroll", machine.name, "ak.pub", *DAY_1)[0] == 0

        def nonce(at: tuple[str, str], machine: Machine = machine) -> bytes:
            (challenge,) = json.loads(run("challenge", "new", machine.name, *at, "--format", "json")[1])
            return bytes.fromhex(challenge["nonce"])

        old = nonce(DAY_1)
        lay_out(tmp_path / "first", machine.name, "b1", machine.log, machine.quote(nonce=old))
        new = nonce(DAY_2)
        answer = machine.quote(nonce=old if number == 5 else new)
        lay_out(tmp_path / "archive", machine.name, "b2", machine.log, answer, seq=2)
        if number == 3:  # another quote for the same nonce
            machine.tpm.clock += 1
            again = machine.quote(nonce=new)
            lay_out(tmp_path / "archive", machine.name, "b3", machine.log, again, seq=3)
    assert run("learn", "first", *DAY_1, "--activate")[0] == 0
    shutil.copy("pyverify.db", "before.db")
    return tmp_path / "archive"


LATER = ("--as-of", "2026-11-02T09:00:00Z")


def test_a_run_that_is_killed_while_it_spends_nonces_spends_each_once(run: Any, quoted: Path, tmp_path: Path) -> None:
    """The store is another then: the run must know its own changes, and no others."""
    arguments = (quoted, "--format", "jsonl", *LATER)
    assert run("verify", *arguments, "-o", "whole.jsonl")[0] == 1
    whole = rows_of(tmp_path / "whole.jsonl")
    outcomes = [(row["machine"], row["boot"], row["verdict"]) for row in whole]
    assert outcomes.count(("q3", "b3", "untrusted")) == 1
    assert [verdict for machine, _, verdict in outcomes if machine in ("q0", "q7")] == ["trusted", "trusted"]
    shutil.copy("before.db", "pyverify.db")
    true_spent, calls = job.spent, []

    def stopping(*arguments: Any) -> Any:
        calls.append(0)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return true_spent(*arguments)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(job, "spent", stopping)
        assert run("verify", *arguments, "-o", "v.jsonl")[0] == 130
    shutil.copy("pyverify.db", "half.db")
    shutil.copytree("v.jsonl.partial", "half.partial")
    assert run("verify", *arguments, "-o", "v.jsonl", "--resume")[0] == 1
    assert rows_of(tmp_path / "v.jsonl") == whole
    # Somebody else's change is not its own.
    shutil.copy("half.db", "pyverify.db")
    shutil.copytree("half.partial", "v.jsonl.partial")
    run("challenge", "new", "q0", "--as-of", "2026-11-02T10:00:00Z")
    code, _, err = run("verify", *arguments, "-o", "v.jsonl", "--resume")
    assert code == 2
    assert "other references" in err
    # Nor is a store that never was this one.
    shutil.copy("before.db", "pyverify.db")
    run("challenge", "new", "q0", "--as-of", "2026-11-02T10:00:00Z")
    assert run("verify", *arguments, "-o", "v.jsonl", "--resume")[0] in (2, 4)


def test_killed_in_both_passes_the_verdicts_are_those_of_an_undisturbed_run(run: Any, runs: Runs, quoted: Path) -> None:
    arguments = (quoted, "--format", "jsonl", *LATER)
    run("verify", *arguments, "-o", "whole.jsonl")

    def fresh() -> None:
        for path in Path().glob("pyverify.db-*"):
            path.unlink()
        shutil.copy("before.db", "pyverify.db")

    fresh()
    kill_often(runs, arguments, 20, rows_of(Path("whole.jsonl")), fresh)


@pytest.mark.parametrize(("by", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_a_run_cleanly(runs: Runs, fleet: Path, tmp_path: Path, by: int, code: int) -> None:
    for output in (("-o", "v.jsonl"), ("-o", "-")):
        ended, _ = runs(fleet, *LOG_ONLY, *DAY_2, *output, "--summary", "s.json", after=0.15, by=by)
        said = Path("said").read_text()
        assert ended == code, said
        assert "Traceback" not in said
        assert "nothing was left half written" in said
        assert not (tmp_path / "v.jsonl").exists()
        assert not (tmp_path / "s.json").exists()


def test_a_full_disk_is_told_and_leaves_nothing_half_written(run: Any, fleet: Path, tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; from pyverify.cli.main import main; from pyverify.fleet import job, journal;"
        "job.BATCH_ROWS, journal._PART_ROWS = 2, int(sys.argv[2]); signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2); sys.exit(main(sys.argv[3:]))"
    )
    run("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "whole.jsonl")
    size = (tmp_path / "whole.jsonl").stat().st_size
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
    for limit, part_rows in ((1_000, 4), (size - 100, 4), (size - 100, 10**6)):
        arguments = ("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl", "--resume")
        command = [sys.executable, "-c", script, str(limit), str(part_rows), *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 4, done.stderr
        assert "cannot be written" in done.stderr
        assert not (tmp_path / "v.jsonl").exists()
        assert not list(tmp_path.glob("v.jsonl.partial/.*"))
    assert run("verify", fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl", "--resume")[0] == 1
    assert rows_of(tmp_path / "v.jsonl") == rows_of(tmp_path / "whole.jsonl")


def test_an_archive_that_breaks_off_can_be_gone_on_with(run: Any, fleet: Path, tmp_path: Path) -> None:
    """As a share that went away: what was appraised of it is kept, and there is no output."""
    from source_archives import make_tar

    items = [(str(path.relative_to(fleet)), path.read_bytes()) for path in sorted(fleet.rglob("*")) if path.is_file()]
    archive = make_tar(tmp_path / "t", items)  # type: ignore[arg-type]
    assert run("verify", archive, *LOG_ONLY, *DAY_2, "-o", "whole.jsonl")[0] == 1
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    code, _, err = run("verify", archive, *LOG_ONLY, *DAY_2, "-o", "v.jsonl")
    assert code == 4
    assert "--resume goes on" in err
    assert not (tmp_path / "v.jsonl").exists()
    archive.write_bytes(whole)
    assert run("verify", archive, *LOG_ONLY, "-o", "v.jsonl", "--resume", "--summary", "s.json")[0] == 1
    assert json.loads((tmp_path / "s.json").read_text())["kept_rows"] > 0
    assert rows_of(tmp_path / "v.jsonl") == rows_of(tmp_path / "whole.jsonl")


def test_another_version_does_not_go_on(run: Any, fleet: Path, tmp_path: Path) -> None:
    """It may judge otherwise."""
    interrupt(run, fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl")
    path = tmp_path / "v.jsonl.partial" / "journal.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pyverify": "0.0.0"}))
    code, _, err = run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl", "--resume")
    assert code == 4
    assert "0.0.0" in err


def test_two_runs_at_once_into_one_file_are_refused(run: Any, fleet: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = []
    true_batches = FolderSource.batches

    def batches(self: FolderSource, **options: Any) -> Any:
        monkeypatch.setattr(FolderSource, "batches", true_batches)
        codes.append(run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl")[0])
        return true_batches(self, **options)

    monkeypatch.setattr(FolderSource, "batches", batches)
    codes.append(run("verify", fleet, *LOG_ONLY, "-o", "v.jsonl")[0])
    assert codes == [2, 1]


def test_parts_end_with_time_too(run: Any, fleet: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_PART_ROWS", 10**6)
    monkeypatch.setattr(journal, "_PART_SECONDS", 0.0)
    began = time.monotonic()
    assert interrupt(run, fleet, *LOG_ONLY, *DAY_2, "-o", "v.jsonl")[0] == 130
    assert time.monotonic() > began
    assert len(list((tmp_path / "v.jsonl.partial").glob("part-*"))) >= 5
