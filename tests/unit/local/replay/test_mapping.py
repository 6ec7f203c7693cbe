"""Mappings: every mistake is found before anything is read or sent, with its file, line and a suggestion."""

import re

import pytest

from contracts import load_contracts
from local.replay import MappingError, ReplayError
from local.replay.mapping import SHIPPED, find_mapping, load_mapping

CONTRACTS = load_contracts()
CONTENT = "Lot No,seller,amount,when\n1,s,$5,2025\n"
FORM = """\
options:
  start: time
  currency: {default: USD}
"""
LOTS = """\
SELECT
    'lot-' || id("Lot No") AS lot_id,
    seller AS seller_id, "Lot No" AS title,
    'other' AS category, $currency AS currency,
    'sold' AS status,
    as_money(amount) AS starting_price,
    $start + days(1) AS listed_at, -- ü
    _line
FROM rows
"""
START = {"start": "2025-01-01"}


def changed(old, new):
    assert old in LOTS
    return LOTS.replace(old, new)


def refused(run, lots=LOTS, form=FORM, content=CONTENT, options=None, **queries):
    with pytest.raises(ReplayError) as caught:
        run(content, form, options=START if options is None else options, lots=lots, **queries)
    return str(caught.value)


def test_a_good_mapping_is_understood(run):
    made = run(CONTENT, FORM, options=START, lots=LOTS)
    assert [(i.key, i.payload["listed_at"]) for i in made.result.items] == [(("lot-1",), "2025-01-02T00:00:00Z")]
    assert made.unused == ("when",)
    assert "columns that the mapping does not use: when" in made.summary()


@pytest.mark.parametrize("name", sorted(p.name for p in SHIPPED.iterdir()))
def test_shipped_mappings_are_found_by_name(name):
    assert load_mapping(find_mapping(name), CONTRACTS).queries


@pytest.mark.parametrize(
    ("old", "new", "line", "reported"),
    [
        ("seller AS", "selller AS", 3, "there is no column 'selller'; did you mean 'seller'?"),
        ('"Lot No" AS title', '"Lot Nr" AS title', 3, "there is no column 'Lot Nr'; did you mean 'Lot No'?"),
        ("as_money(amount)", "as_mony(amount)", 6, "there is no function 'as_mony'; did you mean 'as_money'?"),
        ("as_money(amount)", "roundd(1)", 6, "there is no function 'roundd'; did you mean 'round'?"),
        ("$currency", "$curency", 4, r"there is no option \$curency; did you mean 'currency'?"),
        ("AS status", "AS stauts", 5, "lots has no field 'stauts'; did you mean 'status'?"),
        ("AS status", "AS stauts", 1, "status must be given: it is required in lots"),
        ("FROM rows", "FROM row", 9, "there is no table 'row'; the rows of the file are in the table `rows`"),
        ("FROM rows", "FRM rows", 9, "syntax error"),
        ("'sold'", "'sold", 5, "syntax error|unterminated"),
        ("as_money(amount)", "as_money(max(amount))", 2, "GROUP BY"),
        ("FROM rows", "FROM (SELECT * EXCLUDE (_line), 1::BIGINT AS n FROM rows) AS x", 6, "needs the `_line`"),
        ("FROM rows", "FROM rows AS a JOIN rows AS b USING (seller)", 2, "Ambiguous"),
        ("as_money(amount)", "as_money(amount)/3", 6, "starting_price is a DOUBLE, which is not exact; .* divide"),
        ("as_money(amount)", "divide(1, 2, digits := 99)", 6, r"divide\(\): expected 0 to 10 digits, found 99"),
        ("as_money(amount)", "as_money(amount, decimal_mark := ';')", 6, r"as_money\(\): expected decimal_mark"),
        ("as_money(amount)", "as_money(amount, mark := ';')", 6, r"as_money\(x, decimal_mark := NULL\)$"),
        ("$start + days(1)", "as_time(seller, timezone := 'Mars/One')", 7, "there is no time zone 'Mars/One'"),
        ("$start + days(1)", "as_time(seller, format := '%d/%m')", 7, "expected year, month and day"),
        ("$start + days(1)", "now()", 7, "now gives another result at each run"),
        ("$start + days(1)", "current_date", 7, "current_date gives another result at each run"),
        ("'other'", "uuid()::VARCHAR", 4, "uuid gives another result at each run"),
        ("FROM rows", "FROM rows USING SAMPLE 10%", 9, "SAMPLE gives another result"),
        ("    _line\n", "    1 AS x\n", 1, "expected a column _line"),
        ("    _line\n", "    'a' AS _line\n", 8, "expected _line to be a line"),
        ("SELECT\n", "SELECT *,\n", 3, "lots has no field 'Lot No'"),
        ("FROM rows", "FROM (SELECT *, 1 AS Seller FROM rows)", 9, "'Seller' is a column of the file, which"),
        ("FROM rows", "FROM rows; SELECT 1", 1, "expected one SELECT"),
        (LOTS, "DROP TABLE _cells", 1, "expected one SELECT"),
        (LOTS, "", 1, "expected one SELECT"),
        ("FROM rows", "FROM read_text('/etc/passwd')", 9, "Cannot access file"),
        ("FROM rows", "FROM '/etc/passwd.csv'", 1, "Cannot access file"),
        ("FROM rows", "FROM CONTRACTS", 9, "there is no table 'CONTRACTS'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_query_is_reported_with_its_line(run, old, new, line, reported):
    message = refused(run, changed(old, new) if old != LOTS else new)
    found = [m for m in message.splitlines() if m.startswith(f"mapping/lots.sql, line {line}:")]
    assert found, message
    assert any(re.search(reported, m) for m in found), message


@pytest.mark.parametrize(
    ("form", "line", "reported"),
    [
        ("delimeter: ;", 1, "there is no key 'delimeter'; did you mean 'delimiter'"),
        ("missing: [x]\ndelimiter: ab", 2, "delimiter: expected one character"),
        ("encoding: utf-9", 1, "expected an encoding"),
        ("skip_lines: some", 1, "expected a whole number, found 'some'"),
        ("trim: no", 1, "expected true or false, found 'no'"),
        ("missing: [x]\nmissing: [y]", 2, "missing is given twice"),
        ("options:\n  start: {type: tim}", 2, "there is no type 'tim'; did you mean 'time'"),
        ("options:\n  start: {typ: time}", 2, "there is no key 'typ'; did you mean 'type'"),
        ("options:\n  start: {type: time, default: soon}", 2, "default: expected a timestamp"),
        ("options:\n  Start: time", 2, "expected a name of small letters"),
        ("a: [1", 1, "Put a value in quotes"),
        ("- a", 1, "expected names with values"),
        ("just text", 1, "expected names with values"),
    ],
)
def test_a_mistake_in_the_form_of_the_file_is_reported_with_its_line(run, form, line, reported):
    message = refused(run, form=form)
    assert any(re.search(f"^mapping/file.yaml, line {line}: .*{reported}", m) for m in message.splitlines()), message


def test_all_mistakes_are_reported_at_once_in_order_of_files_and_lines(run):
    message = refused(
        run,
        changed("AS status", "AS stauts").replace("AS title", "AS titel"),
        bids="SELECT nothing FROM rows",
        customers="SELECT 1 +",
    )
    found = re.findall(r"^mapping/(\w+)\.sql, line (\d+)", message, re.MULTILINE)
    assert found == [("bids", "1"), ("customers", "1"), ("lots", "1"), ("lots", "3"), ("lots", "5")]


def test_a_query_is_for_an_entity_behind_the_api(run):
    assert "mapping/lot.sql, line 1: there is no entity 'lot' behind the API; did you mean 'lots'" in refused(
        run, lot=""
    )
    assert "there is no entity 'countries'" in refused(run, countries="")


def test_words_that_yaml_takes_for_values_stay_texts(run):
    lots = changed("$currency", "'USD'").replace("$start", "as_time('2025-01-01T00:00Z')")
    made = run(CONTENT, "missing: [NULL, ~, NO, 'n/a', -, 1.0]", lots=lots)
    assert made.mapping.format.missing == {"", "NULL", "~", "NO", "n/a", "-", "1.0"}


def test_options_are_read_by_their_type(run):
    made = run(CONTENT, FORM, options={**START, "currency": "EUR"}, lots=LOTS)
    assert [i.payload["currency"] for i in made.result.items] == ["EUR"]
    assert "option start is needed: give --start VALUE" in refused(run, options={})
    assert "no option 'strat'; did you mean 'start'" in refused(run, options={"strat": "x"})
    assert "option start: expected a timestamp" in refused(run, options={"start": "tomorrow"})


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [("money", "$1,234.50", "1234.50"), ("number", "0.10", "0.10"), ("integer", "7", "7.00"), ("text", "9.99", "9.99")],
)
def test_options_of_every_type_keep_their_value(run, type_, text, value):
    lots = (
        changed("as_money(amount)", "$amount")
        .replace("$currency", "'USD'")
        .replace("$start", "as_time('2025-01-01T00:00Z')")
    )
    made = run(CONTENT, f"options: {{amount: {type_}}}", options={"amount": text}, lots=lots)
    assert [str(i.payload["starting_price"]) for i in made.result.items] in ([value], ["7"])


def test_a_mapping_that_does_not_exist_names_those_that_do(tmp_path):
    with pytest.raises(MappingError, match=r"ebay: no such mapping.*ebay_auctions"):
        find_mapping("ebay")
    (tmp_path / "old.yaml").write_text("items: []")
    with pytest.raises(MappingError, match=r"is a file. A mapping is a folder with a query ENTITY.sql"):
        find_mapping(str(tmp_path / "old.yaml"))
