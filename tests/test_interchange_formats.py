"""The table of forms says what its modules can do, and every form refuses whatever bytes it is not."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys

import pytest
from baselines_by_hand import COMPARED, of_log
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from pyverify import UsageError
from pyverify.baseline.interchange import keylime_policy, keylime_refstate, own_json, pcrlock, pcrlock_values
from pyverify.baseline.interchange.formats import FORMATS

READERS = {
    "json": own_json.read,
    "keylime-policy": lambda data: keylime_policy.read(data, bank="sha256", scope="machine", name="m"),
    "keylime-refstate": keylime_refstate.read,
    "pcrlock": lambda data: pcrlock.read([("1-a.pcrlock", data)], scope="machine", name="m"),
    "pcrlock-values": lambda data: pcrlock_values.read(data, scope="machine", name="m"),
}


@pytest.mark.parametrize("format", FORMATS, ids=lambda format: format.name)
def test_the_table_says_what_the_modules_can(format):
    module = importlib.import_module(f"pyverify.baseline.interchange.{format.module}")
    assert hasattr(module, "export") == format.exports
    assert hasattr(module, "read") == format.imports


def test_the_table_loads_nothing():
    code = "import pyverify.baseline.interchange.formats, sys; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "tests", check=True)
    assert not {"pyarrow", "sqlalchemy", "numpy", "cbor2"} & set(out.stdout.split())


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.parametrize("name", READERS)
@given(data=st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=80, deadline=None)
def test_bytes_that_are_something_else_are_refused(name, data):
    with pytest.raises(UsageError):
        READERS[name](data)


@pytest.mark.parametrize("name", READERS)
def test_no_form_passes_for_another(name):
    files = {
        "json": "".join(own_json.export([of_log()])).encode(),
        "keylime-policy": keylime_policy.export(of_log(), pcrs=COMPARED),
        "pcrlock": pcrlock.export(of_log(), pcrs=[4])["504-pcr4.pcrlock"],
        "pcrlock-values": b'{"pcrBank":"sha256","pcrValues":[{"pcr":4,"values":["' + b"00" * 32 + b'"]}]}',
    }
    for other, data in files.items():
        if other == name:
            READERS[name](data)
        else:
            with pytest.raises(UsageError):
                READERS[name](data)


@pytest.mark.parametrize("name", ["", "a/b", "..", "a b", "a\n", "\u0430", "x" * 129])
def test_names_that_no_machine_has_are_refused(name):
    policy = b'{"4":["' + b"00" * 32 + b'"]}'
    with pytest.raises(UsageError, match="cannot be the name of a cohort"):
        keylime_policy.read(policy, bank="sha256", scope="cohort", name=name)
    with pytest.raises(UsageError, match="scope “fleet”"):
        keylime_policy.read(policy, bank="sha256", scope="fleet", name="m")
