"""Reading CSV files: every line is used or reported with number and reason; cells are read by type, never guessed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from local.replay.table import CellError, ColumnType, Format, TableError, read_cell, read_table


def cell(text, type_, **more):
    return read_cell(ColumnType("x", type_, **more), text)


@pytest.mark.parametrize(
    ("text", "type_", "more", "value"),
    [
        (" a b ", "text", {}, "a b"),
        (" a b ", "text", {"trim": False}, " a b "),
        ("", "integer", {}, None),
        ("NA", "integer", {"missing": frozenset({"NA"})}, None),
        ("NA", "text", {}, "NA"),
        ("-12", "integer", {}, -12),
        ("3.0", "integer", {}, 3),
        ("12.50", "decimal", {}, Decimal("12.50")),
        ("12,50", "decimal", {"decimal_mark": ","}, Decimal("12.50")),
        ("1.5e3", "decimal", {}, Decimal("1500")),
        ("$1,234.50", "money", {}, Decimal("1234.50")),
        ("US$ 12", "money", {}, Decimal("12")),
        ("1.234,50 €", "money", {"decimal_mark": ","}, Decimal("1234.50")),
        ("1 234,5", "money", {"decimal_mark": ","}, Decimal("1234.5")),
        ("£.99", "money", {}, Decimal("0.99")),
        ("1'234'567.00", "money", {}, Decimal("1234567.00")),
        ("EUR 99", "money", {}, Decimal("99")),
        ("99 USD", "money", {}, Decimal("99")),
        ("(5.00)", "money", {}, Decimal("-5.00")),
        ("-$5.00", "money", {}, Decimal("-5.00")),
        ("Yes", "boolean", {}, True),
        ("0", "boolean", {}, False),
        ("ja", "boolean", {"true_words": frozenset({"ja"})}, True),
        ("2025-01-02T03:04:05+02:00", "timestamp", {}, datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2025-01-02 03:04:05Z", "timestamp", {}, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-07-02 03:04", "timestamp", {"timezone": "Europe/Berlin"}, datetime(2025, 7, 2, 1, 4, tzinfo=UTC)),
        ("2/7/25 3", "timestamp", {"timezone": "UTC", "format": "%d/%m/%y %H"}, datetime(2025, 7, 2, 3, tzinfo=UTC)),
        ("1735689600", "timestamp", {"format": "epoch"}, datetime(2025, 1, 1, tzinfo=UTC)),
        ("1735689600123", "timestamp", {"format": "epoch_ms"}, datetime(2025, 1, 1, 0, 0, 0, 123000, tzinfo=UTC)),
        ("2025-01-02", "date", {}, date(2025, 1, 2)),
        ("02.01.2025", "date", {"format": "%d.%m.%Y"}, date(2025, 1, 2)),
        ("2.230949", "days", {}, timedelta(microseconds=192753993600)),
        ("90", "minutes", {}, timedelta(hours=1, minutes=30)),
    ],
)  # fmt: skip
def test_cells_that_fit(text, type_, more, value):
    assert cell(text, type_, **more) == value


@pytest.mark.parametrize(
    ("text", "type_", "more", "reason"),
    [
        ("12,50", "decimal", {}, "expected a decimal, found '12,50'; type money"),
        ("n/a", "decimal", {}, "add 'n/a' to `missing`"),
        ("1.5", "integer", {}, "expected an integer, found '1.5'"),
        ("$1.234,50", "money", {}, "with '.' before the cents"),
        ("1,23", "money", {}, "before the cents"),
        ("12.5.3", "money", {}, "expected an amount"),
        ("maybe", "boolean", {}, "say `true:"),
        ("2025-01-02 03:04", "timestamp", {}, "no offset from UTC; say `timezone"),
        ("02/07/2025", "timestamp", {}, "say `format:`"),
        ("2025-13-01", "date", {}, "expected a date like 2026"),
        ("noon", "timestamp", {"format": "epoch"}, "seconds since 1970"),
        ("1735689600123000", "timestamp", {"format": "epoch"}, "epoch_ms"),
    ],
)
def test_cells_that_do_not_fit_are_refused_with_what_to_do(text, type_, more, reason):
    with pytest.raises(CellError) as caught:
        cell(text, type_, **more)
    assert reason in str(caught.value)


def lines_of(table):
    return [line for line, _, _ in table.records]


def test_line_numbers_are_those_of_the_file():
    table = read_table(b'\xef\xbb\xbfa,b\r\n1,"x\r\ny"\r\n\r\n2,z\r\n', Format())
    assert table.header == ("a", "b")
    assert [(line, cells) for line, cells, _ in table.records] == [(2, ["1", "x\ny"]), (5, ["2", "z"])]
    assert not table.unreadable


def test_every_bad_line_is_reported_and_the_others_are_read():
    content = 'a,b\n1,x\n2\n3,y,z\n4,"never closed\n5,"bad"quote\n6,\xff\n7,ok\n'.encode("latin-1")
    table = read_table(content, Format())
    assert lines_of(table) == [2, 8]
    assert [(u.line, u.text) for u in sorted(table.unreadable, key=lambda u: u.line)] == [
        (3, "2"), (4, "3,y,z"), (5, '4,"never closed'), (6, '5,"bad"quote'), (7, "6,ÿ"),
    ]  # fmt: skip
    reasons = {u.line: u.reason for u in table.unreadable}
    assert "expected 2 cells as in the header, found 1" in reasons[3]
    assert "never ends" in reasons[5]
    assert "must be written twice" in reasons[6]
    assert "latin-1" in reasons[7]


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
