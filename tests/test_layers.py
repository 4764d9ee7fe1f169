"""Imports go down the layers only (DESIGN 3), one module touches the core, and light commands stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

from conftest import ROOT

import pyverify

# Top first: each may import itself and those below it.
LAYERS = [
    "examples",
    "cli",
    "fleet",
    "output",
    "appraise",
    "baseline",
    "replay",
    "evidence",
    "_libcrypto",
    "_native",
    "errors algorithms findings",
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names.split()}
PACKAGE = ROOT / "pyverify"


def _home_of(name: str) -> str:
    """The module that a public name is of, or the module of this name."""
    return getattr(pyverify, name).__module__.removeprefix("pyverify.") if name in pyverify.__all__ else name


def _imports(path: Path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "pyverify":
            if node.module == "pyverify":
                yield from (_home_of(alias.name) for alias in node.names)
            else:
                module = node.module.removeprefix("pyverify.")
                yield from {module, *(f"{module}.{alias.name}" for alias in node.names)}
        if isinstance(node, ast.Import):
            yield from (a.name.removeprefix("pyverify.") for a in node.names if a.name.startswith("pyverify."))
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: relative import"


def _modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        if parts[0] not in ("__init__", "__main__"):
            yield path, parts[0]


def test_imports_go_down_only():
    seen = 0
    for path, layer in _modules():
        for name in _imports(path):
            target = name.split(".")[0]
            if target == "_core":
                assert layer == "_native", f"{path}: only _native may touch the core"
                continue
            assert RANK[target] > RANK[layer] or target == layer, f"{path}: {layer} imports {name}"
            seen += 1
    assert seen > 50


def test_no_imports_go_in_a_circle():
    """Those within functions count too."""
    paths = {path.relative_to(PACKAGE).with_suffix(""): path for path, _ in _modules()}
    modules = {".".join(place.parts).removesuffix(".__init__"): path for place, path in paths.items()}
    graph = {name: {other for other in _imports(path) if other in modules} - {name} for name, path in modules.items()}
    assert sum(map(len, graph.values())) > 500
    TopologicalSorter(graph).prepare()  # raises CycleError


def test_the_lowest_layer_imports_nothing_above_it():
    for name in ("errors", "algorithms", "findings"):
        assert not set(_imports(PACKAGE / f"{name}.py"))


def _loaded_by(code: str) -> set[str]:
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        cwd=ROOT / "tests",
        check=True,
    )
    return {name.split(".")[0] for name in out.stdout.splitlines()[-1].split()}


def test_looking_at_one_log_loads_no_heavy_package():
    log = ROOT / "tests" / "data" / "kat_log.bin"
    for command in ("inspect", "replay"):
        loaded = _loaded_by(
            f"from pyverify.cli.main import main; main([{command!r}, {str(log)!r}, '--format', 'json'])"
        )
        assert "numpy" in loaded
        assert not {"pyarrow", "sqlalchemy", "tomllib"} & loaded, command
    assert not {"pyarrow", "sqlalchemy", "rich", "numpy"} & _loaded_by("import pyverify")


def test_public_names_are_there():
    for name in pyverify.__all__:
        assert getattr(pyverify, name) is not None
