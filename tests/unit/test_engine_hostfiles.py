"""Small files of the host."""

from __future__ import annotations

from pathlib import Path

from minirund.engine.hostfiles import Followed, read


def test_what_can_t_be_read_says_nothing(tmp_path: Path) -> None:
    assert read(str(tmp_path / "none")) == read(str(tmp_path)) == ""
    assert Followed(str(tmp_path / "none")).text() == ""


def test_what_is_no_utf_8_is_read_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"a\xffb")
    assert read(str(tmp_path / "f")) == "a\ufffdb"


def test_a_file_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "resolv.conf"
    path.write_text("nameserver 10.0.0.1")
    followed = Followed(str(path))
    assert [followed.text(), followed.text()] == ["nameserver 10.0.0.1"] * 2
    path.write_text("nameserver 10.0.0.22")
    assert followed.text() == "nameserver 10.0.0.22"
    other = tmp_path / "other"
    other.write_text("nameserver 10.0.0.33")
    other.rename(path)  # as those do who write it: another file in its place, of the same length
    assert followed.text() == "nameserver 10.0.0.33"
    path.unlink()
    assert followed.text() == ""
