"""Rules in Python that workers of a cluster can import."""

from __future__ import annotations

import time


def slowly(evidence, verdicts):
    """Refuses nothing, and takes its time."""
    del evidence, verdicts
    time.sleep(0.5)
    return []
