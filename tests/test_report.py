"""What goes into the report, and what is refused: verdict files read back, columns of the page, its promises."""

from __future__ import annotations

import base64
import datetime
import gzip
import hashlib
import io
import json
import random
import re
from importlib import resources

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from verdict_rows import NOW, SEEN, digest, finding, many_machines, sample_verdicts, stages, verdict_row, write

from pyverify.appraise.verdict import VERDICT_SCHEMA
from pyverify.errors import ArchiveError
from pyverify.output.report.findings import MAX_FINDINGS
from pyverify.output.report.fleet import Fleet
from pyverify.output.tables import verdict_writer
from pyverify.output.verdict_files import read_verdicts

BAD = finding("baseline.event-changed", pcr=4, bank="sha256", event=9, expected=digest("a"), actual=digest("b"))
ROWS = [
    verdict_row("a", cohort="web"),
    verdict_row("b", "untrusted", BAD, finding("quote.unfresh", "info"), stages=stages(3)),
    verdict_row("c", "error", finding("log.truncated"), attested="log", key="none", ak_name=None, baseline=None),
    verdict_row("d", "unmeasured", finding("log.absent", "info"), collected_at=None, boot="2026-11-01"),
]


def page_data(html: bytes) -> dict:
    found = re.search(rb'id="data">([A-Za-z0-9+/=]*)</script>', html)
    assert found, "the data is base64 and nothing else"
    return json.loads(gzip.decompress(base64.b64decode(found[1])))


def packed(*files: list[dict]) -> dict:
    fleet = Fleet()
    for i, rows in enumerate(files):
        fleet.add(f"file-{i}", [pa.RecordBatch.from_pylist(rows, schema=VERDICT_SCHEMA)])
    return json.loads(json.dumps(fleet.packed(lambda code: None)))


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json"])
def test_what_verify_writes_is_read_back_as_it_was(tmp_path, form):
    path = str(tmp_path / "v")
    batch = pa.RecordBatch.from_pylist(ROWS, schema=VERDICT_SCHEMA)
    with verdict_writer(form, path) as write_batch:
        write_batch(batch)
    assert pa.Table.from_batches(read_verdicts(path)).to_pylist() == batch.to_pylist()


LATER = ["boot_seq", "nonce", "cohort", "source"]


def test_files_of_older_and_newer_versions_are_read_by_the_columns_they_share(tmp_path):
    table = pa.Table.from_pylist(ROWS, schema=VERDICT_SCHEMA).drop_columns(LATER)
    table = table.append_column("more", pa.array(["x"] * len(ROWS)))
    rows = pa.Table.from_batches(read_verdicts(str(write(tmp_path / "v", table)))).to_pylist()
    assert rows == [{**row, **dict.fromkeys(LATER)} for row in ROWS]
    lines = [{name: value for name, value in row.items() if name not in LATER} for row in json_rows()]
    (tmp_path / "lines").write_text("\n".join(map(json.dumps, lines)))
    assert pa.Table.from_batches(read_verdicts(str(tmp_path / "lines"))).to_pylist() == rows


def without(name: str) -> list[dict]:
    return [{key: value for key, value in row.items() if key != name} for row in json_rows()]


def json_rows() -> list[dict]:
    from pyverify.output.tables import json_rows as plain

    return list(plain(pa.RecordBatch.from_pylist(ROWS, schema=VERDICT_SCHEMA)))


def changed(**fields) -> list[dict]:
    return [*json_rows(), json_rows()[0] | fields]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (changed(verdict="Trusted"), "verdict 'Trusted' is none that this version knows"),
        (changed(verdict=None), "verdict None"),
        (changed(schema_version=2), "schema_version"),
        (changed(schema_version=None), "schema_version"),
        (changed(attested="sworn"), "attested 'sworn'"),
        (changed(key="lost"), "key 'lost'"),
        (changed(findings=[{**json_rows()[1]["findings"][0], "severity": "low"}]), "severity 'low'"),
        (changed(findings=[{"severity": "high"}]), "no code"),
        (changed(findings="none"), "findings is no list"),
        (changed(findings=[None]), "findings is no list"),
        (changed(stages=[{"name": "firmware"}]), "no state"),
        (changed(stages=[{"name": "x", "state": "green", "pcrs": [24]}]), "0 to 23"),
        (changed(evidence_id="xyz"), "hex"),
        (changed(evidence_id=7), "hex"),
        (changed(as_of=7), "RFC 3339"),
        (changed(as_of="yesterday"), "yesterday"),
        (changed(machine=7), "no verdict file"),
        (changed(nonce="0x00"), "hex"),
        (changed(nonce=[0]), "hex"),
        (changed(boot_seq="7"), "whole numbers"),
        (changed(boot_seq=7.5), "whole numbers"),
        (changed(schema_version=1.5), "whole numbers"),
        (changed(boot_seq=2**63), "no verdict file"),
        (without("verdict"), "not a verdict row"),
        ([7], "not a verdict row"),
    ],
)
@pytest.mark.parametrize("lines", [True, False])
def test_rows_that_this_version_does_not_know_are_refused(tmp_path, rows, words, lines, run):
    path = tmp_path / "v"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(rows))
    if not lines or isinstance(rows[0], dict):
        with pytest.raises(ArchiveError, match=re.escape(words)):
            list(read_verdicts(str(path)))
        code, out, err = run("report", path, "-o", tmp_path / "out.html")
        assert (code, out) == (3, "")
        assert not (tmp_path / "out.html").exists()
        assert err.startswith("pyverify: ")


@pytest.mark.parametrize(
    "data",
    [b"\x7fELF", b"{", b"[{]", b'{"machine": "a", "machine": "b"}', b"PAR1", b"\xff\xfe", b"[" * 100_000, b"null"],
)
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "v").write_bytes(data)
    with pytest.raises(ArchiveError, match="v: "):
        list(read_verdicts(str(tmp_path / "v")))


@pytest.mark.parametrize("name", ["machine", "cohort"])
def test_texts_that_are_no_utf_8_are_refused(tmp_path, run, name):
    table = pa.Table.from_pylist(ROWS, schema=VERDICT_SCHEMA)
    broken = pa.array([b"\xff\xfe"] * len(ROWS)).view(pa.string())
    pq.write_table(table.set_column(table.schema.get_field_index(name), name, broken), tmp_path / "t")
    code, _, err = run("report", tmp_path / "t", "-o", tmp_path / "o")
    assert code == 3 and "UTF8" in err and not (tmp_path / "o").exists()


def test_a_table_of_something_else_or_no_file_is_refused(tmp_path, run):
    pq.write_table(pa.table({"machine": ["a"]}), tmp_path / "t")
    assert run("report", tmp_path / "t", "-o", tmp_path / "o")[0] == 3
    assert run("report", tmp_path / "missing", "-o", tmp_path / "o")[0] == 3


def test_the_page_is_what_the_report_command_writes_and_the_same_every_time(tmp_path, run):
    path = write(tmp_path / "v.parquet", ROWS)
    assert run("report", path, "-o", tmp_path / "one.html") == (0, "", "")
    assert run("report", path, "-o", tmp_path / "two.html") == (0, "", "")
    html = (tmp_path / "one.html").read_bytes()
    assert html == (tmp_path / "two.html").read_bytes()
    data = page_data(html)
    assert data["machines"] == ["a", "b", "c", "d"]
    assert [data["verdicts"][data["profiles"]["verdict"][p]] for p in data["rows"]["profile"]] == [
        row["verdict"] for row in ROWS
    ]


def test_the_policy_of_the_page_names_its_own_script_and_style_and_nothing_else(tmp_path, run):
    run("report", write(tmp_path / "v.parquet", ROWS), "-o", tmp_path / "page.html")
    html = (tmp_path / "page.html").read_text()
    rules = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', html)[1]
    style, script = re.search("<style>(.*?)</style>", html, re.S)[1], re.search("<script>(.*?)</script>", html, re.S)[1]
    own = ["sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (script, style)]
    assert rules == (
        f"default-src 'none'; script-src '{own[0]}'; style-src '{own[1]}'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(
        r"https?://|@import|url\(|\ssrc=|innerHTML|outerHTML|insertAdjacent|document\.write|eval", html
    )


def test_the_newest_boot_is_by_file_then_time_then_name_with_numbers_by_value():
    def at(hours, boot, **fields):
        return verdict_row("m", boot=boot, collected_at=SEEN + datetime.timedelta(hours=hours), **fields)

    data = packed([at(5, "a"), at(1, "boot-10"), at(1, "boot-9"), at(9, "late")])
    assert [data["boots"][b] for b in data["rows"]["boot"]] == ["boot-9", "boot-10", "a", "late"]
    assert (data["newest"], data["before"], data["gone"]) == ([3], [2], [])
    later = {"as_of": NOW + datetime.timedelta(days=1)}
    data = packed([at(0, "x", **later)], [at(5, "a"), at(9, "late")])
    assert [file["name"] for file in data["files"]] == ["file-1", "file-0"]
    assert [data["boots"][b] for b in data["rows"]["boot"]] == ["a", "late", "x"]
    assert (data["newest"], data["before"]) == ([2], [1])


def test_a_verdict_on_the_same_evidence_in_a_later_file_supersedes():
    later = {"as_of": NOW + datetime.timedelta(days=1)}
    again = verdict_row("m", "untrusted", BAD, **later)
    other_sample = verdict_row("m", evidence_id=digest("other"))
    data = packed([again], [verdict_row("m"), other_sample, verdict_row("n")])
    verdicts = [data["verdicts"][data["profiles"]["verdict"][p]] for p in data["rows"]["profile"]]
    superseded = list(zip(verdicts, data["rows"]["superseded"], strict=True))
    assert sorted(superseded) == [("trusted", 0), ("trusted", 0), ("trusted", 1), ("untrusted", 0)]
    assert data["machines"] == ["m", "n"]
    assert data["gone"] == [1], "n is in a file that another with m followed"


def test_what_repeats_is_kept_once(tmp_path):
    sample = pq.read_table(sample_verdicts(tmp_path))
    sizes = {}
    for n in (2_300, 23_000):
        fleet = Fleet()
        fleet.add("v", many_machines(sample, n).to_batches(max_chunksize=1024))
        data = fleet.packed(lambda code: None)
        sizes[n] = [len(data["findings"]["code"]), len(data["lists"]["more"]), len(data["profiles"]["verdict"])]
        assert len(data["rows"]["profile"]) == n
    assert sizes[2_300] == sizes[23_000]


def test_a_boot_with_absurdly_many_findings_shows_the_weightiest_and_says_how_many_are_left_out():
    many = [finding("quote.unfresh", "info", hint=f"n{i}") for i in range(500)] + [BAD]
    data = packed([verdict_row("m", "untrusted", *many, stages=stages(3))])
    assert data["lists"]["start"] == [0, MAX_FINDINGS]
    assert data["lists"]["more"] == [501 - MAX_FINDINGS]
    first = data["findings"]["code"][data["lists"]["items"][0]]
    assert data["codes"][first]["name"] == BAD["code"]


def test_causes_are_told_apart_by_digests_and_else_by_words_without_numbers():
    def cause(*findings):
        return packed([verdict_row("m", "untrusted", *findings)])["findings"]["cause"]

    assert cause(BAD, BAD | {"hint": "other words", "event": 10}) == [0, 0]
    assert cause(BAD, BAD | {"actual": digest("c")}, BAD | {"pcr": 5}, BAD | {"code": "ima.changed"}) == [0, 1, 2, 3]
    assert cause(finding("log.truncated", hint="at byte 12"), finding("log.truncated", hint="at byte 99")) == [0, 0]
    assert cause(finding("log.truncated", hint="at byte 12"), finding("log.truncated", hint="elsewhere")) == [0, 1]


def _luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_colour_of_text_has_contrast(scheme):
    """WCAG 2 asks for 4.5 to 1 of text."""
    css = resources.files("pyverify.output.report").joinpath("page.css").read_text()
    roots = re.findall(r":root \{(.*?)\}", css, re.S)
    light, dark = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", root)) for root in roots[:2])
    colours = light if scheme == "light" else {**light, **dark}
    assert set(light) == set(dark)
    pairs = [(text, on) for text in ("ink", "muted", "accent", "untrusted", "error", "gone", "unmeasured", "trusted")
             for on in ("paper", "card", "wash")] + [("on-accent", "accent")]  # fmt: skip
    for text, on in pairs:
        high, low = sorted((_luminance(colours[text]), _luminance(colours[on])), reverse=True)
        assert (high + 0.05) / (low + 0.05) >= 4.5, (scheme, text, on)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "json"])
def test_files_with_changed_bytes_are_refused_or_read_and_nothing_else(tmp_path, form):
    path = tmp_path / "v"
    with verdict_writer(form, str(path)) as write_batch:
        write_batch(pa.RecordBatch.from_pylist(ROWS, schema=VERDICT_SCHEMA))
    whole, chance, refused = path.read_bytes(), random.Random(form), 0
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 1, 4))):
            at = chance.randrange(len(data))
            data[at : at + chance.choice((0, 1, 40))] = chance.randbytes(chance.randrange(4))
        path.write_bytes(data)
        try:
            list(read_verdicts(str(path)))
        except ArchiveError:
            refused += 1
    assert refused > 100


def test_verdicts_come_from_standard_input_too(tmp_path, run, monkeypatch):
    path = write(tmp_path / "v.parquet", ROWS)
    for data in (path.read_bytes(), "\n".join(map(json.dumps, json_rows())).encode()):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))
        assert run("report", "-", "-o", tmp_path / "page.html")[0] == 0
        assert page_data((tmp_path / "page.html").read_bytes())["machines"] == ["a", "b", "c", "d"]
