"""The report in a real browser: it asks for nothing, shows what the verdicts say, and is usable without a mouse.

Chromium is the system's; where it or Playwright is missing these tests are skipped.
"""

from __future__ import annotations

import itertools
import re
import shutil
import socket
import time

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from verdict_rows import digest, finding, many_machines, sample_verdicts, stages, verdict_row, write

from pyverify.cli.main import main

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")

HOSTILE = [
    "</script><script>window.owned=1</script>",
    "<img src=x onerror=window.owned=1>",
    "\u202egnp.exe\u202c",
    "\x1b[31mred\x1b[0m",
    "nul\0byte",
    "x" * 10_000,
    "javascript:window.owned=1",
    "<!-- data --> {script} {style} {rules}",
    "__proto__",
    "'\"><svg/onload=window.owned=1>",
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    return sample_verdicts(tmp_path_factory.mktemp("sample"))


@pytest.fixture
def show(browser, tmp_path):
    """Opens the report of verdict files; when the test is over, nothing may have been complained of or asked for."""
    opened = []

    def open_report(*files, **context):
        out = tmp_path / f"report-{len(opened)}.html"
        assert main(["report", *map(str, files), "-o", str(out)]) == 0
        page = browser.new_context(viewport={"width": 1280, "height": 900}, **context).new_page()
        page.heard, page.asked = [], []
        page.on("console", lambda message: page.heard.append(message.text))
        page.on("pageerror", lambda error: page.heard.append(str(error)))
        page.on("dialog", lambda dialog: page.heard.append(dialog.message))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(out.as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        opened.append((page, out.as_uri()))
        return page

    yield open_report
    for page, address in opened:
        assert page.heard == []
        assert page.asked == [address]
        page.context.close()


def count(page) -> str:
    return page.inner_text("#count")


def rows_of(page) -> list[str]:
    return page.locator("#rows .c-machine").all_inner_texts()


def find(page, words: str) -> None:
    page.fill("#f-text", words)
    sync_api.expect(page.locator("#chips")).to_contain_text(words)


def test_the_counts_are_those_of_the_verdict_file(show, sample):
    page = show(sample)
    newest = {
        row["machine"]: row["verdict"] for row in pq.read_table(sample, columns=["machine", "verdict"]).to_pylist()
    }
    for verdict in ("untrusted", "error", "unmeasured", "trusted"):
        shown = page.inner_text(f".tile.{verdict} .figure")
        assert int(shown) == sum(one == verdict for one in newest.values()), verdict
    assert page.inner_text("h1") == "5 of 6 machines are untrusted, 1 could not be judged."
    page.select_option("#f-all", "all")
    everything = pc.value_counts(pq.read_table(sample).column("verdict")).to_pylist()
    for one in everything:
        assert int(page.inner_text(f".tile.{one['values']} .figure")) == one["counts"]


def test_lamps_are_the_stages_of_the_row(show, sample):
    page = show(sample)
    page.select_option("#f-all", "all")
    words = {"green": "as the baseline", "red": "differs", "grey": "not judged"}
    marks = {"green": "●", "red": "✖", "grey": "○"}
    seen = 0
    for row in pq.read_table(sample).to_pylist():
        find(page, f"{row['machine']} {row['boot']}")
        assert count(page) == "1 of 23 boots"
        lamps = page.locator("#rows .lamps")
        assert lamps.get_attribute("aria-label") == ", ".join(
            f"{s['name']}: {words[s['state']]}" for s in row["stages"]
        )
        assert lamps.inner_text().split() == [marks[s["state"]] for s in row["stages"]]
        assert row["verdict"] in page.inner_text("#rows .c-verdict")
        seen += 1
    assert seen == 23


def test_filters_narrow_the_table_and_can_be_taken_back(show, sample):
    page = show(sample)
    page.click(".tile.error")
    assert (count(page), rows_of(page)) == ("1 of 6 machines", ["web-1"])
    assert page.get_attribute(".tile.error", "aria-pressed") == "true"
    page.click(".chip")
    assert count(page) == "6 of 6 machines"
    page.click("#stages li:has-text('secure boot policy') button")
    assert rows_of(page) == ["db-1"]
    page.click("#stages li:has-text('secure boot policy') button")
    page.click("#causes li:has-text('not enrolled') > button")
    assert rows_of(page) == ["web-2"]
    page.click(".chip")
    page.select_option("#f-code", label="ima.changed")
    newest = {row["machine"]: row for row in pq.read_table(sample).to_pylist()}
    changed = {name for name, row in newest.items() if "ima.changed" in {f["code"] for f in row["findings"]}}
    assert set(rows_of(page)) == changed
    page.click(".tile.error")
    assert count(page) == "0 of 6 machines"
    page.click("text=remove all")
    page.click("#changes li:has-text('untrusted → error') button")
    assert rows_of(page) == ["web-1"]
    page.click(".chip")
    changed = pq.read_table(sample).to_pylist()[2]["findings"][2]
    assert changed["code"] == "ima.changed"
    find(page, changed["actual"].hex())
    assert rows_of(page) == ["app-1"]


def test_a_heading_sorts_up_down_and_back(show, sample):
    page = show(sample)
    worst = rows_of(page)
    assert worst[-1] == "web-1", "an error is behind what is untrusted"
    page.click("#heads .c-machine button")
    assert rows_of(page) == sorted(worst)
    assert page.get_attribute("#heads .c-machine", "aria-sort") == "ascending"
    page.click("#heads .c-machine button")
    assert rows_of(page) == sorted(worst, reverse=True)
    page.click("#heads .c-machine button")
    assert rows_of(page) == worst


def test_a_boot_opens_with_every_finding_and_its_digests(show, sample):
    page = show(sample)
    row = next(r for r in pq.read_table(sample).to_pylist() if (r["machine"], r["boot"]) == ("uki-1", "boot-2"))
    find(page, "uki-1")
    page.click("#rows .row")
    page.evaluate("document.querySelectorAll('#panel details').forEach((one) => (one.open = true))")
    text = page.inner_text("#panel")
    assert text.startswith("↑\n↓\n✕\nuki-1")
    assert len(row["findings"]) > 20
    for one in row["findings"]:
        assert one["code"] in text
        assert one["hint"].split(": ", 1)[-1] in text
        for name in ("expected", "actual"):
            assert one[name] is None or one[name].hex() in text
    for name in ("policy_id", "references_id", "evidence_id", "ak_name"):
        assert row[name].hex() in text
    assert "its own, version 1" in text
    assert "sha256 0-9, 11-14" in text
    assert page.locator("#panel .history li").count() == 2


def test_everything_can_be_done_with_the_keyboard(show, sample):
    page = show(sample)
    focused = "document.activeElement.id"
    page.keyboard.press("/")
    assert page.evaluate(focused) == "f-text"
    page.keyboard.press("Escape")
    assert page.evaluate(focused) == "grid"
    names = rows_of(page)

    def current() -> str:
        return page.inner_text(f"#{page.get_attribute('#grid', 'aria-activedescendant')} .c-machine")

    assert current() == names[0]
    for key, expected in (
        ("j", 1),
        ("ArrowDown", 2),
        ("k", 1),
        ("End", 5),
        ("ArrowDown", 5),
        ("Home", 0),
        ("ArrowUp", 0),
    ):
        page.keyboard.press(key)
        assert current() == names[expected], key
    page.keyboard.press("Enter")
    assert page.inner_text("#p-title") == names[0]
    assert page.evaluate(focused) == "p-title"
    page.keyboard.press("j")
    assert page.inner_text("#p-title") == names[1]
    page.keyboard.press("Escape")
    assert page.evaluate("document.getElementById('panel').open") is False
    assert page.evaluate(focused) == "grid"
    assert current() == names[1]


def test_tab_reaches_every_control_in_the_order_of_the_page_and_shows_where_it_is(show, sample):
    page = show(sample)
    kinds = "a, button, input, select, summary, [tabindex='0']"
    controls = f'[...document.querySelectorAll("{kinds}")].filter((one) => one.offsetParent !== null)'
    n = page.evaluate(f"{controls}.length")
    assert n > 30
    for i in range(n):
        page.keyboard.press("Tab")
        assert page.evaluate(f"{controls}.indexOf(document.activeElement)") == i
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"


def test_a_screen_reader_is_told_names_headings_landmarks_and_counts(show, sample):
    page = show(sample)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    tree = page.locator("body").aria_snapshot()
    page.keyboard.press("Escape")
    tree += page.locator("body").aria_snapshot()
    assert not re.findall(
        r"- (?:button|textbox|searchbox|combobox|checkbox|link|img|dialog)(?: \[[^\]]*\])?:?$", tree, re.M
    ), "a control without a name"
    for landmark in ("main", "banner", "contentinfo", 'search "Filter the machines"', 'grid "Machines"', 'dialog "'):
        assert f"- {landmark}" in tree, landmark
    levels = page.evaluate(
        "[...document.querySelectorAll('header h1, main h2, main h3')].map((h) => Number(h.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels)), "a level of headings is left out"
    assert page.get_attribute("#count", "aria-live") == "polite"
    assert page.get_attribute("#grid", "aria-rowcount") == "7"
    assert page.get_attribute("html", "lang") == "en"


def test_several_files_tell_what_changed_and_what_is_gone(show, tmp_path):
    import datetime

    later = {"as_of": datetime.datetime(2026, 11, 25, 8, tzinfo=datetime.UTC)}
    bad = finding(
        "baseline.event-changed", pcr=4, bank="sha256", expected=digest("a"), actual=digest("b"), hint="other contents"
    )
    old = write(tmp_path / "old.parquet", [verdict_row(name) for name in ("stays", "falls", "leaves")])
    new = write(
        tmp_path / "new.parquet",
        [
            verdict_row("stays", **later),
            verdict_row("falls", "untrusted", bad, boot="boot-2", stages=stages(3), **later),
            verdict_row("comes", **later),
        ],
    )
    page = show(new, old)  # the order is that of their times
    assert page.inner_text("#compared") == "Each machine against the file before."
    assert page.locator("#changes .label").all_inner_texts() == ["trusted → untrusted", "not in the newest file", "new"]
    assert page.inner_text("h1") == "1 of 4 machines is untrusted, 1 is gone."
    assert page.inner_text(".tile.gone .figure") == "1"
    assert page.inner_text(".tile.trusted .figure") == "2"
    page.click("#changes li:has-text('not in the newest') button")
    assert rows_of(page) == ["leaves"]
    assert "was trusted in" in page.inner_text("#rows .c-why")
    assert (
        page.locator("#time .bars")
        .first.locator("li")
        .all_inner_texts()[1]
        .startswith("2026-11-25 08:00: 1 untrusted, 2 trusted")
    )


def test_files_of_two_sites_make_no_machine_gone(show, tmp_path):
    page = show(write(tmp_path / "a.parquet", [verdict_row("a")]), write(tmp_path / "b.parquet", [verdict_row("b")]))
    assert page.locator(".tile.gone").count() == 0
    assert page.inner_text("h1") == "All 2 machines are trusted."


def test_a_good_boot_does_not_hide_an_earlier_bad_one(show, tmp_path):
    rows = [verdict_row("m", "untrusted", finding("ima.added"), boot="boot-9"), verdict_row("m", boot="boot-10")]
    page = show(write(tmp_path / "v.parquet", rows))
    assert page.inner_text(".tile.trusted .figure") == "1"
    page.click("#changes li:has-text('an earlier boot was not') button")
    assert rows_of(page) == ["m"]


def test_causes_that_hit_the_same_machines_are_one_entry(show, tmp_path):
    def change(pcr, name):
        return finding(
            "baseline.event-changed",
            pcr=pcr,
            bank="sha256",
            expected=digest("was"),
            actual=digest(name),
            hint=f"PCR {pcr}: {name}",
        )

    upgraded = [
        verdict_row(f"up-{i}", "untrusted", change(8, "kernel"), change(9, "initrd"), stages=stages(4))
        for i in range(40)
    ]
    other = [verdict_row("odd", "untrusted", change(9, "initrd"), change(4, "grub"), stages=stages(3))]
    page = show(write(tmp_path / "v.parquet", [*upgraded, *other, verdict_row("good")]))
    entries = page.locator("#causes > li > button").all_inner_texts()
    assert [(" ".join(entry.split()[:2]), entry.split("PCR ")[1][:8].strip()) for entry in entries] == [
        ("41 machines", "9: initr"),
        ("40 machines", "8: kerne"),
        ("1 machine", "4: grub"),
    ]
    page.click("#causes > li:nth-child(2) summary")
    names = page.locator("#causes > li:nth-child(2) .names .link").all_inner_texts()
    assert names == [f"up-{i}" for i in range(24)]
    page.click("text=all 40 in the table")
    assert count(page) == "40 of 42 machines"
    assert page.locator("#causes > li:nth-child(2) .names").is_visible(), "drawing again left the details open"


def test_cohorts_are_told_and_filter(show, tmp_path):
    rows = [verdict_row(f"web-{i}", cohort="web") for i in range(9)]
    rows += [verdict_row("db-1", "untrusted", finding("ima.changed"), cohort="db"), verdict_row("db-2", cohort="db")]
    page = show(write(tmp_path / "v.parquet", rows))
    assert page.locator("#cohorts li").all_inner_texts() == ["db of 2\n1", "web of 9\n0"]
    page.click("#cohorts li:first-child button")
    assert rows_of(page) == ["db-1", "db-2"]
    assert page.locator("#rows .c-cohort").all_inner_texts() == ["db", "db"]


def test_text_of_evidence_is_text(show, tmp_path):
    rows = [
        verdict_row(
            text, "untrusted", finding("ima.added", hint=text, bank=text[:20]), finding(text, "warning", hint=text),
            boot=text, cohort=text, attested="log", source={"file": text, "row_group": 0, "row": 0},
            baseline={"scope": text, "id": text, "version": 1}, stages=[{**stages(3)[3], "name": text}],
        )
        for text in HOSTILE
    ]  # fmt: skip
    page = show(write(tmp_path / "v.parquet", rows))
    elements = "document.querySelectorAll('script, img, svg, iframe, object, embed, style, link').length"
    assert page.evaluate(elements) == 2, "the page's own style and script"
    for i in range(len(HOSTILE)):
        page.click(f"#r{i}")
        assert len(page.inner_text("#p-title")) <= 200
        page.evaluate("document.querySelectorAll('details').forEach((one) => (one.open = true))")
        assert page.evaluate(elements) == 2
        page.keyboard.press("Escape")
    text = page.inner_text("body")
    assert "<img src=x onerror=window.owned=1>" in text
    assert r"\u202egnp.exe\u202c" in text
    assert r"\x1b[31mred" in text
    assert r"nul\x00byte" in text
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", page.content())
    assert page.evaluate("window.owned === undefined && ({}).owned === undefined")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_the_page_may_ask_for_nothing_and_run_nothing_else(browser, tmp_path):
    out = tmp_path / "report.html"
    assert main(["report", str(write(tmp_path / "v.parquet", [verdict_row("m")])), "-o", str(out)]) == 0
    page = browser.new_page()
    page.goto(out.as_uri())
    page.wait_for_selector("html[data-ready]")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.5)
        page.evaluate(
            """(address) => {
              fetch(address, { mode: "no-cors" }).catch(() => {});
              const image = document.createElement("img");
              image.src = `${address}x.png`;
              const script = document.createElement("script");
              script.textContent = "window.owned = 1";
              document.body.append(image, script);
            }""",
            f"http://127.0.0.1:{server.getsockname()[1]}/",
        )
        with pytest.raises(TimeoutError):
            server.accept()
    assert page.evaluate("window.owned === undefined")
    page.close()


def test_a_hundred_thousand_machines_open_scroll_and_filter_quickly(show, sample, tmp_path):
    n = 100_000
    path = write(tmp_path / "many.parquet", many_machines(pq.read_table(sample), n))
    start = time.monotonic()
    page = show(path)
    assert time.monotonic() - start < 30
    assert count(page) == "100,000 of 100,000 machines"
    assert page.locator("#rows .row").count() < 60
    page.focus("#grid")
    page.keyboard.press("End")
    last = page.locator(f"#r{n - 1} .c-machine")
    assert last.is_visible()
    name = last.inner_text()
    page.keyboard.press("Home")
    assert page.locator("#r0 .c-machine").is_visible()
    start = time.monotonic()
    find(page, name)
    assert time.monotonic() - start < 6
    assert rows_of(page) == [name]


def test_every_row_of_a_long_table_can_be_scrolled_to(show, sample, tmp_path):
    """Rows are more than a browser lays out: the scroll bar stands for all of them."""
    n = 230_000
    page = show(write(tmp_path / "many.parquet", many_machines(pq.read_table(sample), n)))
    assert page.evaluate("document.getElementById('spacer').offsetHeight") <= 8_000_000
    page.evaluate("(box => { box.scrollTop = box.scrollHeight; })(document.getElementById('scroll'))")
    page.wait_for_selector(f"#r{n - 1}")
    assert page.locator(f"#r{n - 1}").is_visible()
    page.focus("#grid")
    page.keyboard.press("Home")
    for _ in range(5):
        page.keyboard.press("PageDown")
        place = page.get_attribute("#grid", "aria-activedescendant")
        box, row = page.locator("#scroll").bounding_box(), page.locator(f"#{place}").bounding_box()
        assert box["y"] - 1 <= row["y"] <= box["y"] + box["height"] - row["height"] + 1


@pytest.mark.parametrize("width", [320, 400, 768, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_narrow_and_wide_screens(show, sample, width, scheme):
    page = show(sample, color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.click("#rows .row")
    assert page.evaluate("document.getElementById('panel').scrollWidth <= innerWidth")


def test_paper_gets_the_worst_rows_in_full(show, sample, tmp_path):
    page = show(write(tmp_path / "many.parquet", many_machines(pq.read_table(sample), 1500)))
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("#rows .row").count() == 1000
    assert "The first 1,000 of 1,500." in page.inner_text("#rows")
    assert not page.is_visible("#filters")
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("#rows .row").count() < 60


def test_an_empty_file_and_a_cut_page_say_so(show, browser, tmp_path):
    page = show(write(tmp_path / "none.parquet", []))
    assert page.inner_text("h1") == "No machine was judged."
    whole = (tmp_path / "report-0.html").read_text()
    cut = tmp_path / "cut.html"
    cut.write_text(re.sub('(id="data">.{60}).*?</script>', r"\1</script>", whole, flags=re.S))
    broken = browser.new_page()
    broken.goto(cut.as_uri())
    sync_api.expect(broken.locator("h1")).to_have_text("This page could not be read.")
    assert not broken.is_visible("main")
    broken.close()
