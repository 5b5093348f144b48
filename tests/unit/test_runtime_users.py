"""Names and numbers against /etc/passwd and /etc/group."""

from __future__ import annotations

import pytest

from minirund.errors import StartFailed
from minirund.runtime.users import Identity, group, group_number, passwd, resolve

USERS = passwd(
    b"root:x:0:0::/root:/bin/sh\n# no line\nbroken\nann:x:1000:100::/home/ann:\n42:x:7:8::/seven:\nlow:x:9:9\n"
)
GROUPS = group(b"root:x:0:\nstaff:x:50:ann,bob\nann:x:1000:\nx:y\nteam:x:60:ann\n")


@pytest.mark.parametrize(
    ("name", "identity"),
    [
        ("", Identity(0, 0, (), "/root")),
        ("ann", Identity(1000, 100, (50, 60), "/home/ann")),
        ("1000", Identity(1000, 100, (50, 60), "/home/ann")),
        ("ann:staff", Identity(1000, 50, (), "/home/ann")),
        (":staff", Identity(0, 50, (), "/root")),
        ("5:6", Identity(5, 6, (), "/")),
        ("5", Identity(5, 0, (), "/")),
        ("42", Identity(7, 8, (), "/seven")),  # a name, though it looks like a number
        ("low", Identity(9, 9, (), "/")),
    ],
)
def test_resolve(name: str, identity: Identity) -> None:
    assert resolve(name, USERS, GROUPS) == identity


@pytest.mark.parametrize("name", ["bob", "ann:nobody", "99999999999", "1:99999999999", "-1"])
def test_refusals(name: str) -> None:
    with pytest.raises(StartFailed):
        resolve(name, USERS, GROUPS)


def test_files_that_are_not_there() -> None:
    assert resolve("12:13", passwd(None), group(None)) == Identity(12, 13, (), "/")
    assert group_number("60", GROUPS) == 60
