"""Rules of a policy in Python: they refuse what everything else lets pass, and never the other way round."""

from __future__ import annotations

import datetime

import pytest
from baselines_by_hand import BANKS, baseline
from conftest import small_log

from pyverify import Evidence, Policy, References, UsageError, verify

NOW = datetime.datetime(2026, 11, 1, tzinfo=datetime.UTC)
LOG = small_log(BANKS)
PLAIN = Policy.preset("log-only")


def judge(policy, log=LOG):
    return verify(
        Evidence("m", "1", event_log=log), references=References.of([baseline("m")]), policy=policy, as_of=NOW
    )


def refused(verdict):
    return [finding.hint for finding in verdict.findings if finding.code == "policy.rule"]


def in_maintenance(evidence, verdicts):
    """Refuses machines of a list, by what the batches say."""
    assert len(evidence) == len(verdicts)
    for row, machine in enumerate(verdicts.column("machine").to_pylist()):
        if machine == "m":
            yield row, "in maintenance\x1b[2J"


def test_a_rule_refuses_what_the_rest_lets_pass():
    assert judge(PLAIN).trusted
    verdict = judge(PLAIN.with_rule("maintenance", in_maintenance))
    assert not verdict.trusted
    assert refused(verdict) == ["[maintenance] in maintenance\\x1b[2J"]


def test_a_rule_that_refuses_nothing_makes_nothing_better():
    policy = PLAIN.with_rule("nothing", lambda evidence, verdicts: [])
    assert judge(policy).trusted
    assert not judge(policy, small_log(BANKS, command_line=b"evil")).trusted


@pytest.mark.parametrize("result", [[(1, "no such row")], [(-1, "x")], [("x", "y")], [3], None])
def test_a_rule_that_fails_refuses_everything(result):
    verdict = judge(PLAIN.with_rule("broken", lambda evidence, verdicts: result))
    assert not verdict.trusted
    assert "[broken] the rule failed" in refused(verdict)[0]


def test_a_rule_that_raises_refuses_everything():
    def broken(evidence, verdicts):
        raise RuntimeError("oops")

    assert "RuntimeError: oops" in refused(judge(PLAIN.with_rule("broken", broken)))[0]


def test_rules_are_part_of_what_a_policy_is_called():
    one, two = (PLAIN.with_rule(name, in_maintenance) for name in ("a", "b"))
    assert len({PLAIN.id, one.id, two.id, one.with_rule("b", in_maintenance).id}) == 4


@pytest.mark.parametrize("name", ["", "a b", "a\n", "x" * 65, "taken"])
def test_names_that_no_rule_can_have(name):
    with pytest.raises(UsageError):
        PLAIN.with_rule("taken", in_maintenance).with_rule(name, in_maintenance)
