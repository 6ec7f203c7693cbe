"""Reading an amount of money as people write it: sign, symbol or code of a currency, groups of thousands.

What stands beside the digits must be known: a sign, a currency, or brackets for a negative amount. Everything else may
change the value (`1.5 Mio`, `50¢`, `5%`, `<500`, `ca 500`, `5 CR`), so that it is refused rather than left out.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal

_CODES = frozenset(
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF "
    "CHF CLP  CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD "
    "HNL HRK HTG HUF  IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL "
    "LYD MAD MDL MGA MKD MMK  MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR "
    "PLN PYG QAR RON RSD RUB RWF SAR  SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP "
    "TRY TTD TWD TZS UAH UGX USD UYU UZS VED  VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG DEM FRF ITL ATS "
    "BEF NLG ESP PTE IEP FIM GRD".split()
)
"""ISO 4217: what is used today, and what the euro replaced (old sales are in it)."""
_LOWER_CODES = frozenset("usd eur gbp chf jpy cad aud sek nok dkk pln czk huf inr cny".split())
_WORDS = frozenset(
    "US$ U$ A$ AU$ C$ CA$ NZ$ HK$ S$ SG$ NT$ R$ MX$ CN¥ JP¥ E£ Kč kr kr. Kr Kr. zł Ft Fr Fr. SFr SFr. Rs Rs. Rp RM "
    "lei лв лв. руб руб. грн".split()
)
"""Currencies that are written with letters. Other letters before a symbol can be a factor (`M$`, `T€`)."""
_FRACTIONS = frozenset("¢￠₥₰\N{BENGALI GANDA MARK}")
"""Symbols of parts of a currency: they change the value."""
_MINUS = "-\N{MINUS SIGN}\N{SMALL HYPHEN-MINUS}\N{FULLWIDTH HYPHEN-MINUS}"
_GROUPS = ",.' \u00a0\u202f\u2009\N{RIGHT SINGLE QUOTATION MARK}"
_NUMBER = re.compile(
    rf"(?:[1-9][0-9]{{0,2}}(?:(?P<group>[{_GROUPS}])[0-9]{{3}}(?:(?P=group)[0-9]{{3}})*)?|[0-9]+)?(?:[.,][0-9]+)?"
)
_NO_CENTS = re.compile(r"(?<=[0-9])[.,][-\u2013\u2014]{1,2}(?=\D*$)")  # 12.- and 12,--
_PARTS = re.compile(
    r"(?P<before>(?:[^0-9.,]|[.](?=[^0-9]))*)(?P<number>[.,]?[0-9](?:.*[0-9])?)(?P<after>.*)", re.DOTALL
)


SHOWN = 40
"""Characters of a text that a message shows."""


def shape(text: str) -> str:
    """How a message shows a text without what it says: in quotes, with 9 for every digit and x for every letter."""
    digits = re.sub(r"\d", "9", text[:SHOWN])
    return repr(re.sub(r"[^\W\d_]", "x", digits) + ("…" if len(text) > SHOWN else ""))


class NotMoney(ValueError):
    """A text is no amount of money that can be read in one way only; the message says what was expected and found."""


def read_money(text: str, decimal_mark: str) -> Decimal:
    """The amount, exact, without its currency. `decimal_mark` is `.` or `,`. Raises `NotMoney`."""
    inner = text.strip()
    negative = inner.startswith("(") and inner.endswith(")")
    if negative:
        inner = inner[1:-1].strip()
    whole = _NO_CENTS.sub("", inner)
    parts = _PARTS.fullmatch(whole)
    if parts is None or (whole != inner and decimal_mark in parts["number"]):
        raise _unknown(text)
    before, after = parts["before"].rstrip(), parts["after"].strip()
    if before.endswith("(") and after.startswith(")") and not negative:  # $(5.00), as spreadsheets show it
        negative, before, after = True, before[:-1], after[1:].strip()
    before, signs = _without_sign(before)
    if len(after) == 1 and after in _MINUS and whole == inner:  # 12.50-, as ledgers print it; 12.--- says what?
        after, signs = "", signs + "-"
    if len(signs) > 1 or (signs and negative):
        raise NotMoney(f"expected one sign, found {shape(text)}")
    if parts["number"][0] in ".," and before[-1:].isalpha():
        raise _unknown(text)  # of `Rs.500`, the point belongs to the word
    if not all(side == "" or _is_currency(side) for side in (before, after)):
        raise _unknown(text)
    value = _digits(parts["number"], decimal_mark, text)
    return -value if negative or signs == "-" else value


def _without_sign(before: str) -> tuple[str, str]:
    """What stands before the digits without a sign at its begin or end, and the signs as - and +."""
    signs = ""
    symbol = before.strip()
    for at in (0, -1):
        if symbol and symbol[at] in _MINUS + "+":
            signs += "+" if symbol[at] == "+" else "-"
            symbol = (symbol[1:] if at == 0 else symbol[:-1]).strip()
    return symbol, signs


def _is_currency(text: str) -> bool:
    written = re.sub(r"\s+(?=\W)", "", text)  # `US $`
    if written in _CODES or written in _LOWER_CODES or written in _WORDS:
        return True
    code, symbol = written[:-1], written[-1:]
    known = unicodedata.category(symbol) == "Sc" and symbol not in _FRACTIONS
    return known and (not code or code in _CODES)


def _digits(number: str, mark: str, text: str) -> Decimal:
    if not _NUMBER.fullmatch(number):
        raise _unknown(text)
    whole, _, fraction = number.rpartition(mark) if mark in number else (number, "", "")
    groups = re.split(f"[{_GROUPS}]", whole)
    grouped_wrongly = len(groups) > 1 and (not 1 <= len(groups[0]) <= 3 or groups[0][0] == "0")
    if mark in whole or re.search(r"\D", fraction) or grouped_wrongly or any(len(g) != 3 for g in groups[1:]):
        raise NotMoney(f"expected an amount with {mark!r} before the cents (decimal_mark), found {shape(text)}")
    return Decimal(f"{''.join(groups) or '0'}.{fraction or '0'}" if fraction else "".join(groups) or "0")


def _unknown(text: str) -> NotMoney:
    return NotMoney(
        f"expected an amount of money like $1,234.50 or -1 234.50 EUR, found {shape(text)}; "
        "other words and signs may change the value"
    )
