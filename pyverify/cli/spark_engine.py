"""``verify --engine spark``: a Spark session for one run."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

from pyverify.errors import ClusterError, UsageError
from pyverify.fleet.job import Elsewhere
from pyverify.fleet.sources import Source


@contextlib.contextmanager
def appraised_by(args: argparse.Namespace, source: Source) -> Iterator[Source | Elsewhere]:
    """The archive for :func:`pyverify.fleet.job.run`: as it is, or to be appraised by the workers of a cluster.

    Raises:
        UsageError: options that do not go together, or pyspark is not installed.
        ClusterError: no session could be had.
    """
    if args.engine == "local":
        if args.master:
            raise UsageError("--master goes with --engine spark")
        yield source
        return
    if args.resume:
        raise UsageError("--resume goes with --engine local: a cluster's verdicts are not kept until all are there")
    if args.jobs:
        raise UsageError("--jobs is for threads here; with --engine spark all cores of the cluster are used")
    try:
        import pyspark  # noqa: F401
    except ImportError as error:
        raise UsageError("--engine spark needs pyspark: pip install 'pyverify[spark]', and Java 17") from error
    from pyspark.sql import SparkSession

    from pyverify.fleet.spark import SparkArchive

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    # Of pandas, which is not used here, and at each job.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    builder = SparkSession.builder.appName("pyverify verify")
    builder = builder.config("spark.ui.showConsoleProgress", "false").config("spark.log.level", "ERROR")
    if args.master:
        builder = builder.master(args.master)
    try:
        session = builder.getOrCreate()
    except Exception as error:  # of Py4J, of the gateway, of Java: there is no common one
        first = next(iter(str(error).splitlines()), "")
        raise ClusterError(f"no Spark session: {first or type(error).__name__}; is Java 17 there?") from error
    try:
        yield SparkArchive(session, source)
    finally:
        session.stop()
