"""Names and identifiers."""

from __future__ import annotations

import pytest

from minirund.engine.names import by_prefix, check_name, new_id, new_name
from minirund.errors import InvalidArgument


def test_an_id_is_64_digits_and_its_short_form_no_number() -> None:
    ids = {new_id() for _ in range(500)}
    assert len(ids) == 500
    assert all(len(one) == 64 and not one[:12].isdecimal() and int(one, 16) >= 0 for one in ids)


def test_a_made_up_name_is_free_and_allowed() -> None:
    taken: set[str] = set()
    for _ in range(300):
        name = new_name(taken)
        assert name not in taken and check_name(name) == name
        taken.add(name)


@pytest.mark.parametrize("name", ["ab", "a.b-c_d", "/slash", "0x", "a" * 255])
def test_good_names(name: str) -> None:
    assert check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-ab", ".ab", "a b", "a/b", "ab\n", "ä1", "a" * 256, "//ab"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid container name"):
        check_name(name)


@pytest.mark.parametrize(
    ("prefix", "found"), [("ab", "abc"), ("abc", "abc"), ("b", "bcd"), ("x", None), ("", None), ("abcd", None)]
)
def test_by_prefix(prefix: str, found: str | None) -> None:
    assert by_prefix(["abc", "bcd", "ace"], prefix) == found


def test_an_ambiguous_prefix_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="Multiple IDs found with provided prefix: a"):
        by_prefix(["abc", "ace"], "a")
