"""``hunt`` as people call it: what is printed, where, and the exit codes."""

from __future__ import annotations

import json

import pytest
from conftest import entry, hash_of, shared, small_log
from hunt_fleet import RSA2048_LIST, SHA256_LIST, authenticated, signature_list
from source_archives import make

BANKS = ["sha1", "sha256"]
LOADER = hash_of("sha256", b"loader")
LOG = small_log(BANKS)
OTHER = LOG.replace(LOADER, hash_of("sha256", b"other"))


def tree(**boots: bytes) -> dict[str, dict[str, bytes]]:
    """Boots by ``machine__boot``, an hour apart."""
    return {
        name.replace("__", "/"): {
            "binary_bios_measurements": log,
            "evidence.json": json.dumps({"boot_seq": i, "collected_at": f"2026-11-01T{i:02}:00:00Z"}).encode(),
        }
        for i, (name, log) in enumerate(boots.items())
    }


FLEET = tree(web1__b1=LOG, web1__b2=OTHER, web1__b3=LOG, web2__b1=OTHER)


@pytest.mark.parametrize("kind", ["folder", "tar", "gz", "xz", "zst", "zip", "parquet"])
def test_every_kind_of_archive_gives_the_same_row(run, tmp_path, kind):
    archive = make(kind, tmp_path, FLEET)
    code, out, err = run("hunt", archive, "--digest", LOADER.hex(), "--format", "jsonl")
    assert code == 0
    (row,) = map(json.loads, out.splitlines())
    assert (row["machine"], row["boots_hit"], row["boots_seen"]) == ("web1", 2, 3)
    assert row["first"] == {"boot": "b1", "boot_seq": 0, "collected_at": "2026-11-01T00:00:00Z"}
    assert row["last"] == {"boot": "b3", "boot_seq": 2, "collected_at": "2026-11-01T02:00:00Z"}
    (hit,) = row["hits"]
    assert hit["needle"] == {"kind": "digest", "value": f"sha256:{LOADER.hex()}"}
    assert hit["event"] == {
        "source": "event-log",
        "number": 10,
        "pcr": 4,
        "register": "PCR 4 (boot-loader-code)",
        "type_hint": "EV_EFI_BOOT_SERVICES_APPLICATION",
        "text": "image \\loader.efi",
        "proven": False,
    }
    assert "4 boots of 2 machines searched for" in err


def test_the_table_has_a_line_a_machine(run, tmp_path):
    code, out, _ = run("hunt", make("folder", tmp_path, FLEET), "--event", "quiet", "--digest", LOADER.hex())
    title, head, *lines = out.splitlines()
    assert code == 0
    assert title == "2 of 2 machines, 4 of 4 boots"
    assert head.split()[:2] == ["machine", "boots"]
    assert [line.split()[:3] for line in lines] == [["web1", "3/3", "b1"], ["web2", "1/1", "b1"]]
    assert lines[0].endswith("(+1 more)")
    assert "(unproven)" in lines[0]
    assert "(unproven)" not in lines[1]
    assert "PCR 8 (grub-commands)" in lines[1]


def test_json_is_one_document(run, tmp_path):
    archive = make("folder", tmp_path, FLEET)
    assert [one["machine"] for one in json.loads(run("hunt", archive, "--event", "quiet", "--format", "json")[1])] == [
        "web1",
        "web2",
    ]
    assert json.loads(run("hunt", archive, "--event", "absent", "--format", "json")[1]) == []


def test_nobody_is_1_and_a_boot_that_could_not_be_searched_makes_it_3(run, tmp_path):
    clean = make("folder", tmp_path / "clean", FLEET)
    assert run("hunt", clean, "--event", "absent")[:2] == (1, "")
    open_ = make("folder", tmp_path / "open", {**FLEET, **tree(web3__b1=LOG[:-5])})
    code, out, err = run("hunt", open_, "--event", "absent")
    assert (code, out) == (3, "")
    assert "1 boot could not be searched, or not all of them: they may be hits" in err
    assert "web3  b1  log.truncated" in err
    assert run("hunt", open_, "--event", "quiet")[0] == 0


def test_an_empty_archive_is_no_clean_no(run, tmp_path):
    (tmp_path / "empty").mkdir()
    code, _, err = run("hunt", tmp_path / "empty", "--event", "absent")
    assert code == 3
    assert "holds no boots" in err


def test_a_dbx_is_told_by_its_kinds(run, tmp_path):
    update = tmp_path / "dbxupdate.bin"
    update.write_bytes(authenticated(signature_list(SHA256_LIST, bytes(32), LOADER)))
    archive = make("folder", tmp_path, FLEET)
    code, out, err = run("hunt", archive, "--dbx", update, "--format", "jsonl")
    assert code == 0
    assert json.loads(out)["hits"][0]["needle"] == {"kind": "dbx", "value": f"sha256:{LOADER.hex()}"}
    assert "the dbx holds 2 SHA256" in err
    update.write_bytes(signature_list(RSA2048_LIST, bytes(256)))
    code, out, err = run("hunt", archive, "--dbx", update)
    assert (code, out) == (3, "")
    assert "NOT LOOKED FOR: 1 of type RSA2048" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to look for"),
        (["--digest", "xyz"], "must be [BANK:]HEX"),
        (["--digest", "00"], "which no bank's digests have"),
        (["--digest", "md5:" + "00" * 32], "unknown bank"),
        (["--digest", "sha384:" + "00" * 32], "has 32 bytes, sha384 has 48"),
        (["--event", ""], "characters"),
        (["--dbx", "NOT_A_DBX"], "is none of these"),
    ],
)
def test_what_cannot_be_looked_for_is_usage(run, tmp_path, arguments, words):
    (tmp_path / "NOT_A_DBX").write_bytes(b"some text")
    archive = make("folder", tmp_path, FLEET)
    code, out, err = run("hunt", archive, *[tmp_path / one if one == "NOT_A_DBX" else one for one in arguments])
    assert (code, out) == (2, "")
    assert words in err


def test_an_archive_that_is_not_there_or_breaks_off_is_4(run, tmp_path):
    assert run("hunt", tmp_path / "nowhere", "--event", "x")[0] == 4
    whole = make("tar", tmp_path, FLEET).read_bytes()
    (tmp_path / "cut").write_bytes(whole[: whole.index(b"web2/b1") + 700])
    code, out, _ = run("hunt", tmp_path / "cut", "--event", "quiet", "--format", "jsonl")
    assert code == 4
    assert json.loads(out.splitlines()[0])["machine"] == "web1"  # what was found before is told


def test_nothing_in_the_evidence_reaches_the_terminal_as_it_is(run, tmp_path):
    hostile = small_log(BANKS, extra=entry(8, 5, b"evil \x1b]0;x\x07 \xc2\x9b \r" + "\u202e".encode(), BANKS))
    archive = make("parquet", tmp_path, tree(web1__b1=hostile))
    for form in ("table", "json", "jsonl"):
        code, out, err = run("hunt", archive, "--event", "evil", "--event", "\x1b]0", "--format", form)
        assert code == 0
        assert all(line.isprintable() for line in (out + err).splitlines())


def test_boots_of_hostile_names_are_told_as_not_searched_and_escaped(run, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = ["../../etc", "a\x1b[31mred", None, "x" * 4000, "\u202eevil"]
    path = tmp_path / "evidence"
    columns = {"machine": names, "boot": ["b\x1b[2J"] * 5, "event_log": [LOG] * 5}
    pq.write_table(pa.table(columns), path)
    code, out, err = run("hunt", path, "--event", "quiet")
    assert (code, out) == (3, "")
    assert "5 boots could not be searched" in err
    assert all(line.isprintable() for line in (out + err).splitlines())


def test_the_recorded_kernels_are_told_apart(run, tmp_path):
    folder = shared("recordings")
    boots = {}
    for i, name in enumerate(["02_m1_reboot", "10_kernel_upgraded", "11_kernel_cloud", "12_kernel_6.12"]):
        boots[f"m1/b{i}"] = {"binary_bios_measurements": (folder / name / "binary_bios_measurements").read_bytes()}
    archive = make("tar", tmp_path, boots)
    code, out, _ = run("hunt", archive, "--event", "vmlinuz-6.12.", "--format", "jsonl")
    assert code == 0
    row = json.loads(out)
    assert (row["boots_hit"], row["boots_seen"], row["first"]["boot"]) == (1, 4, "b3")
    assert "vmlinuz-6.12." in row["hits"][0]["event"]["text"]
    assert row["hits"][0]["event"]["proven"]
