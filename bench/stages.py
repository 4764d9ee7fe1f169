"""Where the time of an appraisal goes, by watching its steps while it runs on one thread."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from bench.baselines import AS_OF, POLICY
from bench.stopwatch import Place, Stopwatch
from pyverify.appraise import appraisal
from pyverify.appraise.appraisal import Appraisal, verify_batches
from pyverify.appraise.comparison import Comparison
from pyverify.appraise.log_checks import forget
from pyverify.appraise.policy import Policy
from pyverify.baseline.references import References

_READING: Final = "reading"
_STAGES: Final[dict[str, tuple[Place, ...]]] = {
    "scan+replay": ((appraisal, "replay"),),
    "checks": ((appraisal, "check_logs"),),
    "compare": ((Comparison, "compare"),),
    "ids": ((appraisal, "log_digests"), (appraisal, "evidence_ids")),
    "quotes": ((appraisal, "sent_quotes"), (appraisal, "attest"), (appraisal, "replay_findings")),
    "ima": ((appraisal, "judge_ima"),),
    "findings+columns": ((Appraisal, "__init__"), (Appraisal, "verdicts")),
}
"""The last is all that the others are not."""


def stage_seconds(batches: Iterable[Any], references: References, policy: Policy = POLICY) -> dict[str, float]:
    """CPU seconds of each stage for logs that this process has not seen, and first of what the batches come from.

    Stages that there is nothing for take next to nothing.
    """
    watch = Stopwatch(_READING)
    forget()
    with watch.watching(_STAGES):
        for _ in verify_batches(batches, references=references, policy=policy, as_of=AS_OF):
            pass
    return {name: watch.seconds[name] for name in (_READING, *_STAGES)}
