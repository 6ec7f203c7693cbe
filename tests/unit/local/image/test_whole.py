"""What a step took out of the image, and something else needs, is named."""

from __future__ import annotations

from local.image.whole import unresolved

SAID = """/opt/python/a.so:
\tlinux-vdso.so.1 (0x00007ffd)
\tlibarrow.so.2600 => /opt/python/libarrow.so.2600 (0x00007f01)
\tlibgone.so.1 => not found
/opt/python/b.so:
\tlibgone.so.1 => not found
\tlibc.so.6 => /lib/libc.so.6 (0x00007f02)
/opt/python/c.so:
\tstatically linked
"""


def test_a_library_that_is_not_found_is_named_with_what_needs_it() -> None:
    assert unresolved(SAID) == ["no library libgone.so.1, which /opt/python/a.so is linked with"]
