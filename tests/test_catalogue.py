"""The attack catalogue of SPEC section 10: honest evidence passes, and each attack gets the answer that it must get."""

from __future__ import annotations

import inspect
import re

import pytest
from conftest import shared

from pyverify.findings import CODES

pytest.register_assert_rewrite("catalogue")

from catalogue import archives, data, forgery, ima, logs, outputs, quotes, secure_boot, signatures, stores  # noqa: E402, F401
from catalogue.scenarios import SCENARIOS, Passed, Required, said  # noqa: E402
from catalogue.table import DOES_NOT_APPLY, TABLE  # noqa: E402

NUMBERS = range(1, 113)


@pytest.mark.parametrize("number", SCENARIOS, ids=lambda number: f"{number:03}-{TABLE[number][0]}")
def test_catalogue(number, request):
    clauses = Required.clauses(TABLE[number][1])
    passed, attacks, met = 0, 0, set()
    (scenario,) = SCENARIOS[number]
    fixtures = {name: request.getfixturevalue(name) for name in inspect.signature(scenario).parameters}
    for answer in scenario(**fixtures):
        if isinstance(answer, Passed):
            word, codes = said(answer.answer)
            assert word == "trusted", codes
            passed += 1
            continue
        word, codes = said(answer)
        fits = {at for at, clause in enumerate(clauses) if clause.met_by(word, codes)}
        assert fits, (attacks, word, codes)
        met |= fits
        attacks += 1
    assert passed, "no honest evidence was judged"
    assert len(met) == len(clauses), "an answer of the table was given to no attack"


def test_every_entry_has_a_scenario_or_says_why_it_does_not_apply():
    assert list(TABLE) == list(NUMBERS)
    assert sorted([*SCENARIOS, *DOES_NOT_APPLY]) == list(NUMBERS)
    assert all(len(scenarios) == 1 for scenarios in SCENARIOS.values())
    assert all(len(reason.split()) > 8 for reason in DOES_NOT_APPLY.values())
    assert len({slug for slug, _ in TABLE.values()}) == len(TABLE)


def test_the_table_asks_for_words_and_codes_that_there_are():
    clauses = [clause for _, text in TABLE.values() for clause in Required.clauses(text)]
    words = {word for clause in clauses for word in clause.words}
    assert words == {"trusted", "untrusted", "unmeasured", "error", "refused"}
    codes = {code for clause in clauses for some in clause.codes for code in some}
    assert codes - set(CODES) == {"ArchiveError", "PyverifyError", "StoreError", "UsageError"}


def test_the_specification_has_these_entries():
    section = shared("SPEC.md").read_text().split("\n# ")
    (catalogue,) = (part for part in section if part.startswith("10. "))
    assert [int(number) for number in re.findall(r"(?m)^\| (\d+) \|", catalogue)] == list(NUMBERS)


@pytest.mark.parametrize(
    ("word", "codes", "fits"),
    [
        ("untrusted", {"a.b", "c.d"}, True),
        ("error", {"a.b", "e.f"}, True),
        ("trusted", {"a.b", "c.d"}, False),
        ("untrusted", {"a.b"}, False),
        ("untrusted", {"c.d"}, False),
        ("untrusted", set(), False),
    ],
)
def test_a_clause_is_met_by_its_word_and_all_of_its_codes(word, codes, fits):
    (clause,) = Required.clauses("untrusted|error a.b c.d|e.f")
    assert clause.met_by(word, codes) == fits
