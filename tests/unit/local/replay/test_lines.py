"""Reading CSV files: every line is used or reported with number and reason."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.replay import lines
from local.replay.lines import Format, TableError


@dataclass
class Table:
    header: tuple
    records: list
    unreadable: list


def read_table(content, form):
    """The file's header, its records as line, cells and text, and what cannot be used."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file.csv")
        path.write_bytes(content)
        header, found = lines.read_table(path, form)
        table = Table(header, [], [])
        for one in found:
            if one.reason:
                table.unreadable.append(one)
            else:
                table.records.append((one.line, list(one.cells), one.text))
        return table


def lines_of(table):
    return [line for line, _, _ in table.records]


def test_line_numbers_are_those_of_the_file():
    table = read_table(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n', Format())
    assert table.header == ("a", "b")
    assert [(line, cells) for line, cells, _ in table.records] == [(2, ["1", "x\ny"]), (5, ["2", "z"])]
    assert not table.unreadable


def test_every_bad_line_is_reported_and_the_others_are_read():
    content = 'a,b\n1,x\n4,"not closed\n5,"bad"quote\n6,\xff\n7,ok\n8,"never closed\n9,z'.encode("latin-1")
    table = read_table(content, Format())
    assert lines_of(table) == [2, 6, 8]
    assert [(u.line, u.text) for u in table.unreadable] == [
        (3, '4,"not closed'), (4, '5,"bad"quote'), (5, "6,\\udcff"), (7, '8,"never closed'),
    ]  # fmt: skip
    reasons = {u.line: u.reason for u in table.unreadable}
    assert "must be written twice" in reasons[3]
    assert "must be written twice" in reasons[4]
    assert "latin-1" in reasons[5]
    assert "never ends" in reasons[7]


def test_other_forms_of_file():
    assert read_table("x\ty\n1\t2\n".encode("utf-16"), Format("\t", encoding="utf-16")).header == ("x", "y")
    assert lines_of(read_table(b"made by us\na;b\n1;2\n", Format(";", skip_lines=1))) == [3]
    assert read_table("na,é\n1,2".encode("latin-1"), Format(encoding="latin-1")).header == ("na", "é")


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "no header"), (b"a,b,a\n1,2,3\n", "'a' more than once"),
     (b"a,A\n1,2\n", "more than once"), (b"a,_line\n1,2\n", "'_line'"), (b'"a,b\n1,2\n', "never ends"),
     (b"\xff\xfe\x00", "is not utf-16")],
)  # fmt: skip
def test_a_file_without_a_usable_header_is_refused(content, reason):
    encoding = "utf-16" if "utf-16" in reason else "utf-8"
    with pytest.raises(TableError, match=reason):
        read_table(content, Format(encoding=encoding))


def test_the_wrong_delimiter_is_suspected():
    with pytest.raises(TableError, match=r'say  delimiter: ";"  in file.yaml'):
        read_table(b"a;b\n1;2\n", Format(","))
    with pytest.raises(TableError, match=r"delimiter: .tab"):
        read_table(b"a\tb\n1\t2\n", Format(","))


def test_a_quoted_cell_goes_on_until_its_quote_ends():
    """However many lines that takes; of text in a cell, no line becomes a record, also if the record is too wide."""
    text = "\n".join(f"l-{n}, of a description" for n in range(500))
    table = read_table(f'id,text\n1,"{text}"\n2,short\n3,"{text}",more\n4,x'.encode(), Format())
    found = [(line, cells[0], len(cells)) for line, cells, _ in table.records]
    assert found == [(2, "1", 2), (502, "2", 2), (1003, "4", 2)]
    assert [(u.line, u.reason) for u in table.unreadable] == [(503, "expected 2 cells as in the header, found 3")]
    assert table.records[0][1][1] == text
    assert table.records[0][2] == f'1,"{text}"'


def test_bytes_that_are_no_text_make_their_whole_record_unreadable():
    table = read_table(b'id,text\n1,"one\ntw\xffo\nthree"\n2,x', Format())
    assert lines_of(table) == [5]
    assert [u.line for u in table.unreadable] == [2]


def test_a_cell_longer_than_memory_should_hold_is_refused(monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_CELL", 1000)
    table = read_table(b"id,text\n1," + b"x" * 1001 + b"\n2,y", Format())
    assert lines_of(table) == [3]
    assert "at most 1,000 characters" in table.unreadable[0].reason


ENCODED = ["utf-8", "utf-16", "utf-32", "utf-8-sig", "cp1252", "utf-16-be"]


@given(st.sampled_from(ENCODED), st.lists(st.text("abc,;'é \"", max_size=8), min_size=1, max_size=4))
def test_every_encoding_gives_the_same_cells_and_lines(encoding, cells):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([["x", "y"], *([c, "1"] for c in cells)])
    table = read_table(out.getvalue().encode(encoding), Format(encoding=encoding))
    assert [(line, row) for line, row, _ in table.records] == [(n + 2, [c, "1"]) for n, c in enumerate(cells)]


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
    """A quote that was forgotten in one of many lines: every line is used as it stands or rejected, none twice."""
    lines = [f"{n},{'x' * n}" for n in range(1, 12)]
    broken = [*lines]
    broken[at] = f'{at + 1},"{"x" * at}'
    table = read_table("\n".join(["a,b", *broken]).encode(), Format())
    assert lines_of(table) == [n + 2 for n in range(len(lines)) if n != at]
    assert [u.line for u in table.unreadable] == [at + 2]
