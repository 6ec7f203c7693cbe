"""Reading cells: each text is read in one way only, or refused with what to do and without what stands in the cell."""

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from unicodedata import category
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.replay.cells import CellError, SettingsError, read_cell, settings_of

DURATIONS = ("days", "hours", "minutes", "seconds")


def cell(text, kind, **said):
    """The cell's value, from the text that DuckDB casts (what DuckDB makes of it: `test_helpers`)."""
    written = read_cell(kind, text, settings_of(said))
    if written is None or kind == "text":
        return written
    if kind in DURATIONS:
        return timedelta(microseconds=int(written))
    if kind == "time":
        return datetime.fromisoformat(written).replace(tzinfo=UTC)
    make = {"integer": int, "date": date.fromisoformat}
    return make.get(kind, Decimal)(written)


@pytest.mark.parametrize(
    ("text", "type_", "more", "value"),
    [
        (" a b ", "text", {}, "a b"),
        ("", "integer", {}, None),
        ("NA", "text", {}, "NA"),
        ("-12", "integer", {}, -12),
        ("3.0", "integer", {}, 3),
        ("12.50", "number", {}, Decimal("12.50")),
        ("12,50", "number", {"decimal_mark": ","}, Decimal("12.50")),
        ("1.5e3", "number", {}, Decimal("1500")),
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
        ("2025-01-02T03:04:05+02:00", "time", {}, datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC)),
        ("2025-01-02 03:04:05Z", "time", {}, datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2025-07-02 03:04", "time", {"timezone": "Europe/Berlin"}, datetime(2025, 7, 2, 1, 4, tzinfo=UTC)),
        ("2/7/25 3", "time", {"timezone": "UTC", "format": "%d/%m/%y %H"},
         datetime(2025, 7, 2, 3, tzinfo=UTC)),
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
        ("12,50", "number", {}, "expected a decimal, found '99,99'; as_money"),
        ("n/a", "number", {}, "list it under `missing`"),
        ("1.5", "integer", {}, "expected an integer, found '9.9'"),
        ("$1.234,50", "money", {}, "with '.' before the cents"),
        ("1,23", "money", {}, "before the cents"),
        ("12.5.3", "money", {}, "expected an amount"),
        ("2025-01-02 03:04", "time", {}, "no offset from UTC; say timezone := "),
        ("02/07/2025", "time", {}, "say format := "),
        ("2025-13-01", "date", {}, "expected a date like 2026"),
    ],
)
def test_cells_that_do_not_fit_are_refused_with_what_to_do(text, type_, more, reason):
    with pytest.raises(CellError) as caught:
        cell(text, type_, **more)
    assert reason in str(caught.value)


AMOUNTS = {
    "−12.50": "-12.50", "－5": "-5", "12.50-": "-12.50", "$ -5.00": "-5.00", "- 5 kr": "-5", "+5": "5", "(€5)": "-5",
    "12.- CHF": "12", "149,--": "149", "R$ 1.234,56": "1234.56", "US $5.00": "5.00", "AU$7": "7", "Fr. 5": "5",
    "5 eur": "5", "$(5)": "-5", "1’234.50": "1234.50", "$5 USD": "5", "CAD $5": "5", "$5 CAD": "5", "kr 5 SEK": "5",
}  # fmt: skip


@pytest.mark.parametrize(("text", "value"), AMOUNTS.items())
def test_amounts_with_all_their_signs(text, value):
    assert cell(text, "money", decimal_mark="," if ",5" in text else ".") == Decimal(value)


@pytest.mark.parametrize(
    "text",
    [
        *"1.5 Mio|2 mln|1.2 Mrd|3 tsd|1½|50¢|¢50|5%|5‰|>500|<500|~500|≈5|ca 500|ab 5|bis 5|max 500|CR 5.00".split("|"),
        *"5.00 CR|5 DR|1.5k|2 M$|T€ 5|M€5|–5|—5|‑5|5–10|5 - 10|--5|(-5)|-5-|Rs.500|5 each|5/2".split("|"),
        *"0,500|0,500 €|00,500|-0,500|5.5.-|0,123,456|1234,500|12345,678".split("|"),
        *"5.---|5.- -|5,---|5.–−|৻5".split("|"),
        *"5x|#5|5p|№5|5 Eur²|٥|5e3|1 2|12 34|$|-|USD".split("|"),
    ],
)  # fmt: skip
def test_what_may_change_an_amount_is_refused(text):
    with pytest.raises(CellError):
        cell(text, "money")


BESIDE = st.text(st.characters(exclude_categories=["Nd"], exclude_characters=".,", codec="utf-8"), max_size=5)


@given(BESIDE, st.decimals(0, 10**9, places=2), BESIDE)
def test_no_text_beside_digits_is_left_out(before, number, after):
    """Whatever stands beside the digits: the amount is theirs with the sign that stands there, or it is refused."""
    try:
        read = cell(f"{before}{number}{after}", "money")
    except CellError:
        return
    minus = any(c in "-−﹣－" for c in before + after) or "(" in before
    assert read == (-number if minus else number)
    letters = [c for c in before + after if not c.isspace() and c not in "()+-−﹣－"]
    assert not letters or re.fullmatch(r"[A-Za-zčłЀ-ӿ]{0,4}", "".join(c for c in letters if category(c) != "Sc"))


ZONES = ["Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Kathmandu", "Pacific/Apia"]


def moments_of(local, zone):
    """The moments whose local time in a zone is this one, by search: every quarter of an hour of offset is tried."""
    tried = (local.replace(tzinfo=UTC) - timedelta(minutes=15 * n) for n in range(-14 * 4, 15 * 4))
    return sorted(m for m in tried if m.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == local)


def changes_of(zone):
    """The days (UTC) in which the zone's clocks were put forward or back."""
    days = (datetime(2008, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(19 * 365))
    offsets = {day: day.astimezone(ZoneInfo(zone)).utcoffset() for day in days}
    return [day for day in list(offsets)[1:] if offsets[day] != offsets[day - timedelta(days=1)]]


CHANGES = {zone: changes_of(zone) for zone in ZONES}
NEAR = st.sampled_from([z for z in ZONES if CHANGES[z]]).flatmap(
    lambda zone: st.tuples(st.just(zone), st.sampled_from(CHANGES[zone]), st.integers(-60 * 48, 60 * 24))
)


@given(NEAR)
def test_a_local_time_is_read_only_if_it_is_one_moment(near):
    zone, day, minutes = near
    local = day.replace(tzinfo=None) + timedelta(minutes=minutes // 5 * 5)
    moments = moments_of(local, zone)
    text = local.isoformat(" ")
    if len(moments) == 1:
        assert cell(text, "time", timezone=zone) == moments[0]
        return
    with pytest.raises(CellError, match="does not exist" if not moments else "exists twice"):
        cell(text, "time", timezone=zone)
    if moments:
        assert cell(text, "time", timezone=zone, ambiguous="earlier") == moments[0]
        assert cell(text, "time", timezone=zone, ambiguous="later") == moments[-1]


@pytest.mark.parametrize("text", ["2025-03-30 02:30", "2011-12-30 12:00"])
def test_a_time_that_clocks_skip_is_refused_whatever_the_column_says(text):
    zone = "Pacific/Apia" if "2011" in text else "Europe/Berlin"
    for ambiguous in (None, "earlier", "later"):
        with pytest.raises(CellError, match="does not exist"):
            cell(text, "time", timezone=zone, ambiguous=ambiguous)


@given(st.dates(date(1900, 1, 1)), st.sampled_from(["iso", "%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y"]))
def test_a_date_is_the_day_that_was_written(day, form):
    assert cell(day.isoformat() if form == "iso" else f"{day:{form}}", "date", format=form) == day


@pytest.mark.parametrize("text", ["2025-01-01T00:00:00.1234567Z", "0001-01-01T00:00:00+05:00"])
def test_a_moment_that_cannot_be_kept_is_refused(text):
    with pytest.raises(CellError):
        cell(text, "time")


@pytest.mark.parametrize(
    ("text", "mark"), [("0.500", ","), ("0.123", ","), ("-0.500 €", ","), ("1,234,-", ","), ("5.5.-", ".")]
)
def test_no_group_follows_a_lone_nought_and_no_cents_follow_cents(text, mark):
    with pytest.raises(CellError):
        cell(text, "money", decimal_mark=mark)


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("2026-01-01+02:00", "iso"), ("2026-01-01-10:00", "iso"), ("2026-01-01Z", "iso"), ("2026-01-01_10:00", "iso"),
        ("1112026", "%d%m%Y"), ("20261111", "%Y%m%d%H%M"),
    ],
)  # fmt: skip
def test_a_moment_that_could_be_another_is_refused(text, form):
    with pytest.raises(CellError):
        cell(text, "time", format=form, timezone="UTC")
    assert cell("01112026", "date", format="%d%m%Y") == date(2026, 11, 1)


@pytest.mark.parametrize("unit", ["days", "hours", "minutes", "seconds"])
@pytest.mark.parametrize("text", ["9" * 21, "1e20", "-1e30", "1e999"])
def test_a_duration_without_end_costs_its_row(unit, text):
    with pytest.raises(CellError, match="duration"):
        cell(text, unit)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("1." + "1" * 11, "number"), ("1" * 19, "number"), ("1e18", "number"), ("1e-11", "number"), ("0.1234567", "money"),
     ("$" + "9" * 19, "money"), ("1e999", "number"), ("-1e-999", "number")],
)  # fmt: skip
def test_what_its_type_cannot_hold_is_refused_and_never_rounded(text, kind):
    with pytest.raises(CellError, match=r"expected (a number of )?at most \d+ digits"):
        cell(text, kind)


@given(st.decimals(-(10**17), 10**17, places=10))
def test_numbers_are_exact(number):
    assert cell(f"{number:f}", "number") == number


KINDS = ["money", "number", "integer", "time", "date", *DURATIONS]


@given(st.sampled_from(KINDS), st.text(st.characters(codec="utf-8"), min_size=1, max_size=60))
def test_no_reason_tells_what_stands_in_the_cell(kind, text):
    """Whatever the cell: the message is the same with other letters and digits in the place of its own."""

    def reported(text):
        try:
            cell(text, kind)
        except CellError as error:
            return str(error)
        return None

    other = re.sub(r"[^\W\d_]", "q", re.sub(r"\d", "7", text.strip()))
    one, two = reported(text), reported(other)
    assert None in (one, two) or one == two or "at most" in one + two or "[0-9]" in one


@pytest.mark.parametrize(
    ("said", "reported"),
    [
        ({"decimal_mark": ";"}, "expected decimal_mark"),
        ({"timezone": "Mars/One"}, "there is no time zone 'Mars/One'"),
        ({"format": "ISO8601"}, "expected iso or one like"),
        ({"format": "%d/%m"}, "expected year, month and day"),
        ({"format": "%d%m%y %d"}, "what %d stands for is given twice"),
        ({"format": "%Y-%m-%d %H:%M %Z"}, "there is no %Z"),
        ({"format": "%Y-%m-%d %H:%M %p"}, r"%I .1 to 12. with %p"),
        ({"format": "%Y-%m-%d %I:%M"}, r"%I .1 to 12. with %p"),
        ({"format": "epoch"}, "expected iso or one like"),
        ({"ambiguous": "yes"}, "expected ambiguous 'earlier' or 'later'"),
    ],
)
def test_settings_that_cannot_be_meant_are_reported(said, reported):
    with pytest.raises(SettingsError, match=reported):
        settings_of(said)
