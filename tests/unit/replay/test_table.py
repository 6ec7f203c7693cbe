"""Reading CSV files: every line is used or reported with number and reason."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.replay.lines import LONGEST_CELL, Format, TableError
from local.replay.table import read_table


def lines_of(table):
    return [line for line, _, _ in table.records]


def test_line_numbers_are_those_of_the_file():
    table = read_table(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n', Format())
    assert table.header == ("a", "b")
    assert [(line, cells) for line, cells, _ in table.records] == [(2, ["1", "x\ny"]), (5, ["2", "z"])]
    assert not table.unreadable


def test_every_bad_line_is_reported_and_the_others_are_read():
    content = 'a,b\n1,x\n2\n3,y,z\n4,"not closed\n5,"bad"quote\n6,\xff\n7,ok\n8,"never closed\n9,z'.encode("latin-1")
    table = read_table(content, Format())
    assert lines_of(table) == [2, 8, 10]
    assert [(u.line, u.text) for u in sorted(table.unreadable, key=lambda u: u.line)] == [
        (3, "2"), (4, "3,y,z"), (5, '4,"not closed'), (6, '5,"bad"quote'), (7, "6,ÿ"), (9, '8,"never closed'),
    ]  # fmt: skip
    reasons = {u.line: u.reason for u in table.unreadable}
    assert "expected 2 cells as in the header, found 1" in reasons[3]
    assert "must be written twice" in reasons[5]
    assert "must be written twice" in reasons[6]
    assert "latin-1" in reasons[7]
    assert "never ends" in reasons[9]


def test_other_forms_of_file():
    assert read_table("x\ty\n1\t2\n".encode("utf-16"), Format("\t", encoding="utf-16")).header == ("x", "y")
    assert lines_of(read_table(b"made by us\na;b\n1;2\n", Format(";", skip_lines=1))) == [3]
    assert read_table("na,é\n1,2".encode("latin-1"), Format(encoding="latin-1")).header == ("na", "é")


@pytest.mark.parametrize(("content", "reason"), [(b"", "no header"), (b"a,b,a\n1,2,3\n", "'a' more than once")])
def test_a_file_without_a_usable_header_is_refused(content, reason):
    with pytest.raises(TableError, match=reason):
        read_table(content, Format())


def test_the_wrong_delimiter_is_suspected():
    with pytest.raises(TableError, match=r'say  file: \{delimiter: ";"\}'):
        read_table(b"a;b\n1;2\n", Format(","))
    with pytest.raises(TableError, match=r"delimiter: .tab"):
        read_table(b"a\tb\n1\t2\n", Format(","))
    table = read_table(b"a,b\n1;2\n", Format(","))
    assert "is the delimiter ','?" in table.unreadable[0].reason


def test_a_quoted_cell_goes_on_until_its_quote_ends():
    """However many lines that takes; of text in a cell, no line becomes a record, also if the record is too wide."""
    text = "\n".join(f"l-{n}, of a description" for n in range(500))
    table = read_table(f'id,text\n1,"{text}"\n2,short\n3,"{text}",more\n4,x'.encode(), Format())
    assert [(line, cells[0]) for line, cells, _ in table.records] == [(2, "1"), (502, "2"), (1003, "4")]
    assert table.records[0][1][1] == text
    assert [(u.line, u.reason) for u in table.unreadable] == [(503, "expected 2 cells as in the header, found 3")]


def test_bytes_that_are_no_text_make_their_whole_record_unreadable():
    table = read_table(b'id,text\n1,"one\ntw\xffo\nthree"\n2,x', Format())
    assert lines_of(table) == [5]
    assert [u.line for u in table.unreadable] == [3]


def test_a_cell_longer_than_any_item_is_refused():
    table = read_table(b"id,text\n1," + b"x" * (LONGEST_CELL + 1) + b"\n2,y", Format())
    assert lines_of(table) == [3]
    assert "at most 1,048,576 characters" in table.unreadable[0].reason


CELLS = st.text(st.sampled_from("ab ,;\"'\n|") | st.characters(exclude_characters="\r\0", codec="utf-8"), max_size=12)
SHAPES = st.integers(2, 4).flatmap(lambda n: st.lists(st.lists(CELLS, min_size=n, max_size=n), max_size=6))


@given(SHAPES, st.sampled_from(",;|"), st.sampled_from(["\n", "\r\n"]))
def test_what_a_writer_of_csv_wrote_is_read_back(rows, delimiter, end):
    """Python's csv module is the other implementation; rows of empty cells alone are no records."""
    width = len(rows[0]) if rows else 2
    header = [f"c{n}" for n in range(width)]
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator=end).writerows([header, *rows])
    table = read_table(out.getvalue().encode(), Format(delimiter))
    assert [cells for _, cells, _ in table.records] == [r for r in rows if any(c.strip() for c in r)]
    assert not table.unreadable


@given(st.integers(0, 10))
def test_a_stray_quote_spoils_its_own_record_only(at):
    """A quote that was forgotten in one of many plain lines: every line is used as it stands or told, none twice."""
    lines = [f"{n},{'x' * n}" for n in range(1, 12)]
    broken = [*lines]
    broken[at] = f'{at + 1},"{"x" * at}'
    table = read_table("\n".join(["a,b", *broken]).encode(), Format())
    assert lines_of(table) == [n + 2 for n in range(len(lines)) if n != at]
    assert [u.line for u in table.unreadable] == [at + 2]
