"""The footer as it is read before Arrow reads it: what Arrow says of whole files, and an error for damaged ones."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pyverify.fleet.parquet_footer import FooterError, read_footer

TABLE = pa.table(
    {
        "event_log": pa.array([b"a" * 100, b"a" * 100, None, b"b"] * 5, pa.large_binary()),
        "ima": pa.array([[{"format": "binary", "data": b"x" * 50}], None] * 10),
        "n": pa.array(range(20)),
    }
)


def written(**options) -> bytes:
    file = io.BytesIO()
    pq.write_table(TABLE, file, row_group_size=6, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "options", [{}, {"use_dictionary": False}, {"use_dictionary": ["event_log"]}, {"version": "1.0"}]
)
def test_it_says_what_arrow_says(options):
    data = written(**options)
    footer, metadata = read_footer(io.BytesIO(data)), pq.read_metadata(io.BytesIO(data))
    groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
    columns = [[group.column(i) for i in range(group.num_columns)] for group in groups]
    with_pages = [[c for c in group if c.has_dictionary_page] for group in columns]
    assert footer.repeating == {c.path_in_schema for group in with_pages for c in group if "." not in c.path_in_schema}
    assert footer.nested == tuple(
        sum(c.total_uncompressed_size for c in group if "." in c.path_in_schema) for group in with_pages
    )


def test_a_file_cut_anywhere_has_no_footer():
    data = written()
    for size in range(len(data)):
        with pytest.raises(FooterError):
            read_footer(io.BytesIO(data[:size]))


def test_a_damaged_footer_is_an_error_or_another_footer():
    """Nothing else leaves, whatever bit is flipped, and lengths that lie make nothing large."""
    data = written()
    start = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    seen = 0
    for at in range(start, len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                read_footer(io.BytesIO(bytes(damaged)))
            except FooterError:
                seen += 1
    assert seen > 100
