"""SECURITY.md says what the code does: its table of limits, its words, the files that it points to."""

from __future__ import annotations

import ast
import importlib
import re

import pytest
from conftest import ROOT

from pyverify.appraise.policy import Policy
from pyverify.findings import CODES
from pyverify.fleet import limits

PAGE = (ROOT / "SECURITY.md").read_text()
LIMITS = re.findall(r"^\| .* \| (.*) \| `([\w.]+)` \| .+ \|$", PAGE, re.M)


def _constant(name: str):
    module, _, constant = name.rpartition(".")
    return getattr(importlib.import_module(f"pyverify.{module}"), constant)


@pytest.mark.parametrize(("limit", "name"), LIMITS, ids=[name for _, name in LIMITS])
def test_a_limit_is_the_constant(limit, name):
    value = _constant(name)
    if isinstance(value, dict):
        assert limit == ", ".join(f"`{key}` {number:,}" for key, number in value.items())
    else:
        assert limit == f"{value:,}"


def test_every_limit_of_archives_is_on_the_page():
    tree = ast.parse((ROOT / "pyverify/fleet/limits.py").read_text())
    names = [node.target.id for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert {f"fleet.limits.{name}" for name in names if not name.endswith("IB")} == {
        name for _, name in LIMITS if name.startswith("fleet.")
    }
    assert len(LIMITS) > 25
    assert _constant("appraise.attestation.MAX_QUOTES") == limits.QUOTES


def test_files_that_the_page_names_are_there():
    named = re.findall(r"\btests/[\w./]+", PAGE)
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_codes_and_options_that_the_page_names_are_there(run):
    for code in re.findall(r"`([a-z]+\.[a-z-]+)`", PAGE):
        assert code in CODES, code
    _, help_text, _ = run("verify", "--help")
    options = set(re.findall(r"`(--[a-z-]+)`", PAGE))
    _, more, _ = run("baseline", "verify-store", "--help")
    assert "--anchor" in options
    assert {option for option in options if option not in help_text + more} == set()


def test_only_the_policy_of_bare_logs_allows_sha1():
    assert {name: "sha1" in Policy.preset(name).banks_allowed for name in ("default", "archive", "log-only")} == {
        "default": False,
        "archive": False,
        "log-only": True,
    }
