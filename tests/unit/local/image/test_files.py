"""Two images that are not the same are distinguished, by whatever they differ."""

from __future__ import annotations

import os
from pathlib import Path

from local.image.files import fingerprint, listing, naming, sizes, unlike, writable


def test_a_listing_sees_content_rights_times_and_links(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    (tmp_path / "t").write_text("1")
    os.utime(tmp_path / "t", (1, 1))
    (tmp_path / "link").symlink_to("a")
    before = listing(tmp_path)
    assert unlike(before, listing(tmp_path)) == []
    (tmp_path / "a").chmod(0o755)
    (tmp_path / "b").mkdir()
    os.utime(tmp_path / "t", (2, 2))
    (tmp_path / "link").unlink()
    (tmp_path / "link").symlink_to("t")
    assert unlike(before, listing(tmp_path)) == ["a", "b", "link", "t"]
    assert fingerprint(before) != fingerprint(listing(tmp_path))


def test_what_the_images_user_may_write_is_found_outside_of_scratch_space(tmp_path: Path) -> None:
    for place in ("opt", "var/gavel"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "open").write_text("")
        (tmp_path / place / "open").chmod(0o666)
    assert list(writable(tmp_path, 1)) == ["opt/open"]
    (tmp_path / "opt" / "open").chmod(0o644)
    assert "opt/open" in list(writable(tmp_path, os.getuid()))


def test_the_name_of_a_folder_of_who_built_it_is_found(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\x00/home/me/project\x00")
    (tmp_path / "b").write_text("nothing")
    assert naming(tmp_path, ["/home/me"]) == ["a"]


def test_a_file_with_two_names_counts_once(tmp_path: Path) -> None:
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt" / "a").write_bytes(b"x" * 10)
    os.link(tmp_path / "opt" / "a", tmp_path / "opt" / "b")
    assert sizes(tmp_path, ["opt"]) == {"opt": 10}
