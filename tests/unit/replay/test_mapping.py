"""Mapping files: every mistake is found before anything is read or sent, with its line and a suggestion."""

import re
from textwrap import dedent

import pytest

from contracts import load_contracts
from local.replay import MappingError, load_mapping
from local.replay.mapping import SHIPPED, find_mapping, read_options

CONTRACTS = load_contracts()
HEADER = ("Lot No", "seller", "amount", "when")
GOOD = """\
    options:
      start: {type: timestamp, timezone: UTC}
      currency: {default: USD}
    columns:
      lot_no: {column: Lot No}
      amount: money
    values:
      day: = start + days(1)
    items:
      - entity: lots
        group_by: lot_no
        fields:
          lot_id: "lot-{id(lot_no)}"
          seller_id: "{seller}"
          title: "{lot_no}"
          category: other
          currency: "{currency}"
          status: sold
          listed_at: = day
"""


def load(text, header=HEADER):
    return load_mapping(dedent(text), "m.yaml", header, CONTRACTS)


def refused(text, header=HEADER):
    with pytest.raises(MappingError) as caught:
        load(text, header)
    return str(caught.value)


def changed(old, new):
    assert old in GOOD
    return GOOD.replace(old, new)


def test_a_good_mapping_is_understood():
    mapping = load(GOOD)
    assert [i.entity for i in mapping.items] == ["lots"]
    assert mapping.columns["lot_no"].header == "Lot No"
    assert mapping.columns["seller"].type == "text", "columns that are not declared are texts"
    assert mapping.unused == ("amount", "when")


def test_a_column_that_is_written_in_several_ways():
    formats = "[iso, '%d/%m/%Y %I:%M %p', '%j %Y', '%d %b %y']"
    column = load(changed("amount: money", f"amount: {{type: timestamp, format: {formats}, ambiguous: later}}"))
    assert column.columns["amount"].formats == ("iso", "%d/%m/%Y %I:%M %p", "%j %Y", "%d %b %y")
    assert column.columns["amount"].ambiguous == "later"


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_mappings_are_found_by_name(path):
    assert find_mapping(path.stem) == path


@pytest.mark.parametrize(
    ("old", "new", "line", "told"),
    [
        ("entity: lots", "entity: lot", 10, "there is no entity 'lot'; did you mean 'lots'"),
        ("entity: lots", "entity: countries", 10, "there is no entity 'countries'"),
        ("status: sold", "stauts: sold", 18, r"\(lots\).stauts: lots has no field 'stauts'; did you mean 'status'"),
        ("{column: Lot No}", "{column: Lot Nr}", 5, "lot_no: the file has no column 'Lot Nr'; did you mean 'Lot No'"),
        ("amount: money", "amuont: money", 6, "the file has no column 'amuont'; did you mean 'amount'"),
        ("amount: money", "amount: monney", 6, "there is no type 'monney'; did you mean 'money'"),
        ("amount: money", "Lot No: money", 6, "cannot be used in expressions.*column: 'Lot No'"),
        ("amount: money", "amount: {type: money, decimal_mark: ';'}", 6, "expected decimal_mark"),
        ("amount: money", "amount: {type: timestamp, timezone: Mars/One}", 6, "there is no time zone 'Mars/One'"),
        ("amount: money", "amount: {type: timestamp, format: ISO8601}", 6, "expected iso, epoch, epoch_ms"),
        ("amount: money", "amount: {type: timestamp, format: [iso, '%d/%m']}", 6, "expected year, month and day"),
        ("amount: money", "amount: {type: timestamp, format: '%d%m%y %d'}", 6, "%d is given twice; write several"),
        ("amount: money", "amount: {type: timestamp, format: '%Y-%m-%d %H:%M %Z'}", 6, "there is no %Z"),
        ("amount: money", "amount: {type: timestamp, format: '%Y-%m-%d %H:%M %p'}", 6, "%I .1 to 12. with %p"),
        ("amount: money", "amount: {type: timestamp, format: '%Y-%m-%d %I:%M'}", 6, "%I .1 to 12. with %p"),
        ("amount: money", "amount: {type: date, format: epoch}", 6, "expected iso or one like"),
        ("amount: money", "amount: {type: date, format: []}", 6, "a format or a list of formats, found none"),
        ("amount: money", "amount: {type: timestamp, ambiguous: yes}", 6, "expected ambiguous: earlier or later"),
        ("amount: money", "amount: {typ: money}", 6, "there is no key 'typ'; did you mean 'type'"),
        ("group_by: lot_no", "group_by: lotno", 11, "there is no column or value 'lotno'; did you mean 'lot_no'"),
        ("group_by: lot_no", "when: = count() > 1", 11, "without group_by write `where`"),
        ("group_by: lot_no", "groupby: lot_no", 11, "there is no key 'groupby'; did you mean 'group_by'"),
        ("{id(lot_no)}", "{id(lotno)}", 13, "no column, value or option 'lotno'; did you mean 'lot_no'"),
        ('"{seller}"', '"{seller"', 14, "single '{'"),
        ('"{seller}"', "{seller}", 14, "put quotes around it"),
        ("title: \"{lot_no}\"", "title: upper(lot_no)", 15, "is a constant text; write `= upper"),
        ("status: sold", "title: sold", 18, "title: is given twice"),
        ("          status: sold\n", "", 13, "status must be given"),
        ("items:", "itms:", 10, "there is no key 'itms'; did you mean 'items'"),
        ("listed_at: = day", "listed_at: = dayy", 19, "listed_at: there is no column, value or option 'dayy'"),
        ("day: = start", "seller: = start", 8, "there is a column or option of that name"),
        ("default: USD", "default: USD, typ: text", 3, "there is no key 'typ'"),
        ("{type: timestamp, timezone: UTC}", "{type: timestamp, default: soon}", 2, "default: expected a timestamp"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old, new, line, told):
    message = refused(changed(old, new))
    found = [m for m in message.splitlines() if m.startswith(f"m.yaml, line {line}:")]
    assert found, message
    assert any(re.search(told, m) for m in found), message


def test_all_mistakes_are_told_at_once_in_order_of_lines():
    text = changed("amount: money", "amount: monney").replace("status: sold", "stauts: sold").replace("= day", "= dai")
    lines = [int(m.split(":")[0].split()[-1]) for m in refused(text).splitlines()]
    assert len(lines) >= 3
    assert lines == sorted(lines)


@pytest.mark.parametrize(
    "text", ["", "just text", "- a\n- b", "items: []", "a: [1", "items:\n  - entity: lots", "items: 3"]
)
def test_what_is_no_mapping_is_refused(text):
    assert "m.yaml, line" in refused(text)


def test_words_that_yaml_takes_for_values_stay_texts_where_texts_are_meant():
    mapping = load(changed("options:", "missing: [NULL, ~, NO, 'n/a', -]\n    options:"))
    assert mapping.format.missing == {"", "NULL", "~", "NO", "n/a", "-"}
    assert load(changed("status: sold", "status: NO")).items[0].fields["status"].rule == "NO"


def test_options_are_read_by_their_type():
    mapping = load(GOOD)
    assert read_options(mapping, {"start": "2025-01-01"})["currency"] == "USD"
    with pytest.raises(MappingError, match=r"option start is needed: give --start VALUE"):
        read_options(mapping, {})
    with pytest.raises(MappingError, match="no option 'strat'; did you mean 'start'"):
        read_options(mapping, {"strat": "x"})
    with pytest.raises(MappingError, match="option start: expected a timestamp"):
        read_options(mapping, {"start": "tomorrow"})


def test_a_mapping_that_does_not_exist_names_those_that_do():
    with pytest.raises(MappingError, match="ebay_auctions"):
        find_mapping("ebay")
