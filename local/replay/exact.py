"""How mapping files compute with decimals: exactly, or not at all.

Python's own default keeps 28 digits of every result and says nothing. Sums, differences and products here keep all
their digits; a quotient, which may have no end, keeps more of them than any amount has.
"""

from __future__ import annotations

from decimal import Context, DivisionByZero, Inexact, InvalidOperation, Overflow

_DIGITS = 4_000
"""More than texts with exponents of three digits and their products have."""
_TRAPS = [InvalidOperation, DivisionByZero, Overflow]

EXACT = Context(prec=_DIGITS, traps=[*_TRAPS, Inexact])
"""For `+`, `-` and `*`: raises `decimal.Inexact` where digits would be lost."""
ROUNDING = Context(prec=_DIGITS, traps=_TRAPS)
"""For rounding that is asked for."""
QUOTIENT = Context(prec=80, traps=_TRAPS)
"""For `/`: twice the digits of the widest decimal of a contract, and some."""
