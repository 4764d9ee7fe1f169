"""Writes a bill of materials of what pyverify runs on, from the environment that has it: CycloneDX 1.5, JSON.

``python tests/sbom.py [EXTRA...] > sbom.json``. The same environment gives the same bytes: no time, no serial number.
"""

from __future__ import annotations

import json
import re
import sys
from importlib.metadata import Distribution, distribution
from typing import Any

from packaging.requirements import Requirement


def canonical(name: str) -> str:
    """A project's name as package indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements(found: Distribution, extras: frozenset[str]) -> dict[str, frozenset[str]]:
    """What a distribution requires in this environment, with the extras that it asks for."""
    needed: dict[str, frozenset[str]] = {}
    for requirement in map(Requirement, found.requires or []):
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras | {""}):
            name = canonical(requirement.name)
            needed[name] = needed.get(name, frozenset()) | frozenset(requirement.extras)
    return needed


def _component(found: Distribution) -> dict[str, Any]:
    name = canonical(found.metadata["Name"])
    component = {
        "type": "library",
        "bom-ref": f"pkg:pypi/{name}@{found.version}",
        "name": name,
        "version": found.version,
        "purl": f"pkg:pypi/{name}@{found.version}",
    }
    licence = found.metadata.get("License-Expression")
    return component | ({"licenses": [{"expression": licence}]} if licence else {})


def bill(project: str, extras: frozenset[str]) -> dict[str, Any]:
    """The document; a requirement that is not installed raises ``PackageNotFoundError``."""
    components: dict[str, dict[str, Any]] = {}
    needs: dict[str, dict[str, frozenset[str]]] = {}
    to_do = [(canonical(project), extras)]
    done: set[tuple[str, frozenset[str]]] = set()
    while to_do:
        name, wanted = to_do.pop()
        if (name, wanted) in done:
            continue
        done.add((name, wanted))
        found = distribution(name)
        components[name] = _component(found)
        needs[name] = needs.get(name, {}) | requirements(found, wanted)
        to_do += needs[name].items()
    root = components[canonical(project)] | {"type": "application"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": root},
        "components": [components[name] for name in sorted(components) if name != canonical(project)],
        "dependencies": [
            {"ref": components[name]["bom-ref"], "dependsOn": sorted(components[n]["bom-ref"] for n in needs[name])}
            for name in sorted(needs)
        ],
    }


if __name__ == "__main__":
    json.dump(bill("pyverify", frozenset(sys.argv[1:])), sys.stdout, indent=1)
    print()
