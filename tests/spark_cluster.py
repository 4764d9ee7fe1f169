"""A Spark standalone cluster on loopback: a master and workers, each a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import pytest
from conftest import ROOT

_START_SECONDS = 180
# Processes that live for a minute: a fast start is worth more than fast code.
_JAVA = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xshare:auto"


def require_spark() -> None:
    """Skips where there is no Spark."""
    if find_spec("pyspark") is None:
        pytest.skip("pyspark is not installed: pip install 'pyverify[spark]'", allow_module_level=True)
    if shutil.which("java") is None:
        pytest.skip("Java is not installed: apt install openjdk-17-jre-headless", allow_module_level=True)


@dataclass
class Cluster:
    """A running master and its workers."""

    folder: Path
    url: str = ""
    processes: dict[str, subprocess.Popen] = field(default_factory=dict)

    def start(self, name: str, role: str, *arguments: str) -> None:
        """Starts a daemon."""
        import pyspark

        log = self.folder / f"{name}.log"
        script = Path(pyspark.__file__).parent / "bin" / "spark-class"
        command = [str(script), f"org.apache.spark.deploy.{role}", "--host", "127.0.0.1", "--port", "0"]
        with log.open("wb") as file:
            self.processes[name] = subprocess.Popen(
                [*command, "--webui-port", "0", *arguments],
                stdout=file,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    "SPARK_DAEMON_MEMORY": "256m",
                    "SPARK_DAEMON_JAVA_OPTS": _JAVA,
                    "PYTHONPATH": python_path(),
                },
                cwd=self.folder,
            )

    def said(self, name: str, words: str) -> str:
        """What a daemon's log says in the group of a pattern, waiting for it."""
        log = self.folder / f"{name}.log"
        end = time.monotonic() + _START_SECONDS
        while (found := re.search(words, log.read_text("utf-8", "replace"))) is None:
            assert self.processes[name].poll() is None and time.monotonic() < end, log.read_text("utf-8", "replace")
            time.sleep(0.1)
        return found[1]

    def start_worker(self, name: str) -> None:
        """One core, and memory for one small executor. It registers with the master when it is ready."""
        options = ("--cores", "1", "--memory", "600m", "--work-dir", str(self.folder / name))
        self.start(name, "worker.Worker", *options, self.url)

    def kill(self, name: str) -> None:
        """As if its machine had lost power; its executor goes when it misses it."""
        self.processes[name].kill()
        self.processes.pop(name).wait()


def python_path() -> str:
    """What workers need to find the package that is tested, installed or not, and modules of the tests."""
    import pyverify

    here = Path(pyverify.__file__).parent.parent
    return os.pathsep.join(map(str, (here, ROOT / "tests", *([ROOT] if here != ROOT else []))))


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 2) -> Iterator[Cluster]:
    """A master and so many workers of one core each."""
    running = Cluster(folder)
    try:
        running.start("master", "master.Master")
        running.url = running.said("master", r"Starting Spark master at (\S+)")
        for number in range(workers):
            running.start_worker(f"worker-{number}")
        yield running
    finally:
        for process in running.processes.values():
            process.terminate()
        for process in running.processes.values():
            process.wait(timeout=30)


@contextlib.contextmanager
def session_on(master: str, **config: str) -> Iterator:
    """A session that uses loopback only."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.memory": "512m",
        "spark.executor.memory": "512m",
        "spark.driver.extraJavaOptions": _JAVA,
        "spark.executor.extraJavaOptions": _JAVA,
        "spark.scheduler.minRegisteredResourcesRatio": "1",  # a test is of two workers only when both are there
        "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
        "spark.cores.max": "2",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "OFF",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100",
        **{name.replace("_", "."): value for name, value in config.items()},
    }
    builder = SparkSession.builder.master(master).appName("pyverify tests")
    for name, value in settings.items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()
