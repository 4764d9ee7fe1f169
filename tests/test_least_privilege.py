"""Least privilege, as the kernel sees it: commands open no socket, start no program, and write nothing outside their
outputs, the store and the folder for temporary files (strace; SECURITY.md)."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

SAMPLE = ROOT / "pyverify" / "cli" / "sample.tar.xz"
LOG = ROOT / "tests" / "data" / "kat_log.bin"
REPORTED = (
    "%network,execve,execveat,fork,vfork,open,openat,openat2,creat,truncate,rename,renameat,renameat2,unlink,unlinkat,"
    "mkdir,mkdirat,link,linkat,symlink,symlinkat,chmod,fchmodat,rmdir"
)
BY_PATH = re.compile(r"(open|creat|mkdir|unlink|rename|chmod|fchmod|link|rmdir|truncate)(at)?2?\(")
PATHS = re.compile(r'(?:(?:\d+|AT_FDCWD)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
"""A name, and the folder that it is relative to where a call has one."""
NOT_WRITING = re.compile(r"open(?:at2?)?\(.*O_RDONLY(?!.*(?:O_CREAT|O_TRUNC|O_TMPFILE))")
# The C library asks the local cache of the user database, where there is one, who the user is that changes a store.
USER_DATABASE = re.compile(
    r'socket\(AF_UNIX,|connect\(\d+(?:<[^>]*>)?, \{sa_family=AF_UNIX, sun_path="/var/run/nscd/socket"\}'
)


def _strace_works() -> bool:
    strace = shutil.which("strace")
    return bool(strace) and subprocess.run([strace, "-qq", "true"], capture_output=True, check=False).returncode == 0


pytestmark = pytest.mark.skipif(not _strace_works(), reason="strace is missing, or may not trace")


def _traced(command: list[str], tmp_path: Path, exits: int) -> list[str]:
    """System calls of a command, failed ones too, that could touch anything outside it."""
    trace, temporary = tmp_path / "trace", tmp_path / "tmp"
    temporary.mkdir(exist_ok=True)
    strace = [
        "strace",
        "-f",
        "-y",
        "-qq",
        "-s",
        "4096",
        "-e",
        f"trace={REPORTED}",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path / "home"),
        "TMPDIR": str(temporary),
        "LC_ALL": "C.UTF-8",
    }
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [*strace, sys.executable, *command], capture_output=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == exits, done.stderr.decode()
    return [line.split(maxsplit=1)[1] for line in trace.read_text(errors="replace").splitlines()]


def _outside(calls: list[str], allowed: tuple[Path, ...]) -> list[str]:
    """Those that are no reading of files, nor changes below what is allowed. The first is the start of Python."""
    bad = []
    assert calls[0].startswith("execve(")
    for call in calls[1:]:
        if NOT_WRITING.match(call) or USER_DATABASE.match(call):
            continue
        if BY_PATH.match(call):
            paths = [Path(folder, name) for folder, name in PATHS.findall(call)]
            if paths and all(
                any(path.is_relative_to(top) for top in allowed) or path == Path("/dev/null") for path in paths
            ):
                continue
        bad.append(call)
    return bad


@pytest.mark.parametrize(
    ("arguments", "exits"),
    [
        (["inspect", str(LOG)], 0),
        (["replay", str(LOG)], 0),
        (["info"], 0),
        (["policy", "show"], 0),
        (["demo"], 0),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
def test_commands_that_have_no_output_file_write_to_the_temporary_folder_alone(arguments, exits, tmp_path):
    calls = _traced(["-m", "pyverify", *arguments], tmp_path, exits)
    assert _outside(calls, (tmp_path / "tmp",)) == []


def test_learning_judging_and_reporting_write_the_store_and_the_outputs_alone(tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    common = [str(SAMPLE), "--policy", "log-only", "--store", str(work / "store.db")]
    allowed = (work, tmp_path / "tmp")
    learn = _traced(["-m", "pyverify", "learn", *common, "--activate"], tmp_path, 0)
    assert any("store.db" in call and "O_CREAT" in call for call in learn)
    assert _outside(learn, allowed) == []
    output = work / "verdicts.parquet"
    verify = _traced(["-m", "pyverify", "verify", *common, "--format", "parquet", "-o", str(output)], tmp_path, 1)
    assert _outside(verify, allowed) == []
    report = _traced(["-m", "pyverify", "report", str(output), "-o", str(work / "report.html")], tmp_path, 0)
    assert _outside(report, allowed) == []
    assert (work / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("code", "call"),
    [
        ("import socket; socket.socket()", "socket("),
        ("import os; os.spawnv(os.P_WAIT, '/bin/true', ['true'])", "execve("),
        ("open('elsewhere', 'w')", "openat("),
        ("import os; os.mkdir('folder')", "mkdir("),
    ],
)
def test_what_is_forbidden_would_be_seen(code, call, tmp_path):
    seen = _outside(_traced(["-c", code], tmp_path, 0), (tmp_path / "tmp",))
    assert any(line.startswith(call) for line in seen)
