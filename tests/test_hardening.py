"""What the compiled core promises: hardened as CMakeLists.txt says, and every function of api.h tried on its edges."""

from __future__ import annotations

import re
from pathlib import Path

import elf
import pytest
from conftest import ROOT

from pyverify import _core


@pytest.fixture(scope="module")
def core() -> elf.Library:
    return elf.Library(Path(_core.__file__).read_bytes())


def test_the_core_is_position_independent_code_that_nothing_rewrites(core):
    assert core.type == 3  # ET_DYN
    assert not core.has_text_relocations
    assert not any(segment.writable and segment.executable for segment in core.segments)


def test_the_stack_is_not_executable(core):
    (stack,) = core.of_type(elf.PT_GNU_STACK)
    assert not stack.executable


def test_what_the_loader_fills_in_is_read_only_afterwards(core):
    assert core.of_type(elf.PT_GNU_RELRO)
    assert core.binds_now


def test_the_stack_is_guarded_and_copies_are_checked(core):
    names = set(core.symbols())
    assert any(name.startswith("__stack_chk_fail") for name in names)
    assert {"__memcpy_chk", "__memset_chk"} & names  # of _FORTIFY_SOURCE


def test_calls_through_pointers_end_at_marked_places(core):
    at = core.offset(core.symbols()["PyInit__core"])
    first = core.data[at : at + 4]
    if core.machine == elf.X86_64:
        assert first == b"\xf3\x0f\x1e\xfa"  # endbr64
    elif core.machine == elf.AARCH64:
        assert int.from_bytes(first, "little") in (0xD503245F, 0xD503233F)  # bti c, paciasp


def test_the_core_needs_libc_alone_and_shows_one_name(core):
    assert {name for name in core.needed if not name.startswith(("libc.so", "ld-linux"))} == set()
    assert not core.has_search_path
    assert {name for name, address in core.symbols().items() if address} == {"PyInit__core"}


def test_every_function_of_the_core_is_tried_on_empty_and_odd_input():
    declared = re.findall(
        r"\b(pv_\w+)\((?!\*)", re.sub(r"/\*.*?\*/", "", (ROOT / "csrc/api.h").read_text(), flags=re.S)
    )
    tried = (ROOT / "tests/c/test_edges.c").read_text()
    assert len(declared) > 30
    assert [name for name in declared if not re.search(rf"\b{name}\(", tried)] == []
