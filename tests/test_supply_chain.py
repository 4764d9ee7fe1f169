"""The bill of materials has what pyproject.toml asks for and all that stands behind it, and imports need no more."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from importlib.metadata import distribution, packages_distributions

import pytest
from conftest import ROOT
from packaging.requirements import Requirement
from sbom import bill, canonical

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def document():
    return bill("pyverify", frozenset())


def test_the_bill_names_every_declared_dependency_in_a_version_that_satisfies_it(document):
    versions = {component["name"]: component["version"] for component in document["components"]}
    for requirement in map(Requirement, PROJECT["dependencies"]):
        assert requirement.specifier.contains(versions[canonical(requirement.name)], prereleases=True)


def test_the_bill_is_closed_and_every_component_is_reached(document):
    edges = {entry["ref"]: entry["dependsOn"] for entry in document["dependencies"]}
    root = document["metadata"]["component"]["bom-ref"]
    reached, to_do = {root}, [root]
    while to_do:
        fresh = set(edges[to_do.pop()]) - reached
        reached |= fresh
        to_do += fresh
    assert reached == {root} | {component["bom-ref"] for component in document["components"]}
    assert {entry["name"] for entry in document["components"]} >= {"pycparser"}  # cffi's, not ours


def test_versions_are_those_that_are_installed(document):
    for component in document["components"]:
        assert component["version"] == distribution(component["name"]).version
        assert component["purl"] == f"pkg:pypi/{component['name']}@{component['version']}"


def test_an_extra_adds_what_it_asks_for(document):
    names = {component["name"] for component in bill("pyverify", frozenset({"ear"}))["components"]}
    assert names - {component["name"] for component in document["components"]} == {"pyjwt"}


def test_the_command_prints_the_same_document_every_time(document):
    command = [sys.executable, str(ROOT / "tests" / "sbom.py")]
    first, second = (subprocess.run(command, capture_output=True, check=True).stdout for _ in range(2))
    assert first == second
    assert json.loads(first) == document


def test_nothing_is_imported_that_is_not_declared():
    declared = {
        canonical(Requirement(text).name)
        for group in (PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
        for text in group
    }
    owners, imported = packages_distributions(), set()
    for path in (ROOT / "pyverify").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    foreign = {name for name in imported if name not in sys.stdlib_module_names and name != "pyverify"}
    assert len(foreign) > 6
    assert {
        name for name in foreign if not {canonical(owner) for owner in owners.get(name, [name])} & declared
    } == set()
