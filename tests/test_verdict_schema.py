"""What the README says of verdict files: its table is the schema, its queries run and give what plain Python gives."""

from __future__ import annotations

import contextlib
import io
import re

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT
from verdict_rows import sample_verdicts

from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.output.verdict_files import read_verdicts

SECTION = (ROOT / "README.md").read_text().split("\n## Verdicts\n")[1].split("\n## ")[0]


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    path = sample_verdicts(tmp_path_factory.mktemp("sample"))
    return path.rename(path.with_name("verdicts.parquet"))


@pytest.fixture
def rows(sample, monkeypatch):
    """The rows, in the folder that the README's queries are made in."""
    monkeypatch.chdir(sample.parent)
    return pq.read_table(sample).to_pylist()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", SECTION, re.S | re.M)


def test_the_table_is_the_schema():
    table = re.findall(r"^\| (`.*?) \| ([\w ]+) \| (.*) \|$", SECTION, re.M)
    documented = [(name, kind, words) for names, kind, words in table for name in re.findall(r"`(\w+)`", names)]
    assert [name for name, _, _ in documented] == VERDICT_SCHEMA.names
    for name, kind, words in documented:
        of = VERDICT_SCHEMA.field(name).type
        inner = of.value_type if pa.types.is_list(of) else of
        if pa.types.is_struct(inner):
            assert kind == ("list of struct" if pa.types.is_list(of) else "struct")
            for field in inner:
                assert f"`{field.name}`" in words, (name, field.name)
        else:
            assert kind == re.sub(r"\[.*", "", str(of)), name


def wrong(rows) -> dict:
    machines = {}
    for row in rows:
        for finding in row["findings"]:
            if finding["severity"] == "high":
                machines.setdefault((finding["code"], finding["pcr"]), set()).add(row["machine"])
    return {key: len(names) for key, names in machines.items()}


def test_the_queries_of_duckdb(rows):
    duckdb = pytest.importorskip("duckdb")
    by_cause, by_digest, unproven = (duckdb.sql(query).fetchall() for query in blocks("sql"))
    assert {(code, pcr): n for code, pcr, n in by_cause} == wrong(rows)
    assert len(by_cause) > 5
    assert by_digest == [("app-1", "boot-3")]
    expected = {
        (row["machine"], row["boot"], row["verdict"])
        for row in rows
        if not any(proof["mask"] >> 7 & 1 for proof in row["pcrs_proven"])
    }
    assert set(unproven) == expected
    assert 0 < len(expected) < len(rows)


def test_the_query_of_pandas(rows):
    pytest.importorskip("pandas")
    (code,) = blocks("python")
    names: dict = {}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(code, "README.md", "exec"), names)
    counts = names["high"].groupby(["code", "pcr"], dropna=False)["machine"].nunique()
    got = {(key[0], None if key[1] != key[1] else int(key[1])): n for key, n in counts.items()}
    assert got == wrong(rows)
    assert "baseline.event-changed" in out.getvalue()


def test_what_duckdb_and_pandas_write_is_a_verdict_file_too(rows, tmp_path):
    duckdb, pandas = pytest.importorskip("duckdb"), pytest.importorskip("pandas")
    duckdb.sql(f"COPY (SELECT * FROM 'verdicts.parquet') TO '{tmp_path / 'duck.parquet'}'")
    pandas.read_parquet("verdicts.parquet").to_parquet(tmp_path / "panda.parquet")
    for name in ("duck.parquet", "panda.parquet"):
        assert pa.Table.from_batches(read_verdicts(str(tmp_path / name))).to_pylist() == rows
