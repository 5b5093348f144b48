"""Who a process is: "name|uid[:group|gid]" against the container's own /etc/passwd and /etc/group.

The numbers belong to the image, so its files decide, and not the host's. Pure: the texts come in, an Identity goes out.
A name that is not in the file is an error; a number need not be there. Without a group the user's own group counts, and
the groups that name the user as a member come along.
Source: passwd(5), group(5); the behaviour of ``docker run --user``.
"""

from __future__ import annotations

from typing import NamedTuple

from minirund.errors import StartFailed

MAX_ID = 2**31 - 1


class Identity(NamedTuple):
    """A process's user and groups, and the home directory that /etc/passwd gives the user."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    home: str = "/"


class Entry(NamedTuple):
    """A line of either file: name, number; a user's group and home; a group's members."""

    name: str
    number: int
    group: int = 0
    home: str = "/"
    members: tuple[str, ...] = ()


def passwd(text: bytes | None) -> list[Entry]:
    """The users of /etc/passwd; lines that make no sense are passed over."""
    rows = (line.split(":") for line in _lines(text))
    return [
        Entry(row[0], int(row[2]), int(row[3]), row[5] if len(row) > 5 else "/")
        for row in rows
        if len(row) > 3 and _is_number(row[2]) and _is_number(row[3])
    ]


def group(text: bytes | None) -> list[Entry]:
    """The groups of /etc/group."""
    rows = (line.split(":") for line in _lines(text))
    return [
        Entry(row[0], int(row[2]), members=tuple(row[3].split(",")) if len(row) > 3 else ())
        for row in rows
        if len(row) > 2 and _is_number(row[2])
    ]


def resolve(name: str, users: list[Entry], groups: list[Entry]) -> Identity:
    """The Identity for "name|uid[:group|gid]"; "" is root. Raises StartFailed."""
    user_part, _, group_part = name.partition(":")
    user_part = user_part or "0"  # an image need not have /etc/passwd for that
    user = _find(user_part, users)
    if user is None and not user_part.isdecimal():
        raise StartFailed(f"unable to find user {user_part}: no matching entries in passwd file")
    uid, gid = (user.number, user.group) if user else (number(user_part), 0)
    home = user.home if user else "/"
    if group_part:
        return Identity(uid, group_number(group_part, groups), (), home or "/")
    extra = tuple(each.number for each in groups if user and user.name in each.members)
    return Identity(uid, gid, extra, home or "/")


def group_number(name: str, groups: list[Entry]) -> int:
    """A group by name or number. Raises StartFailed."""
    found = _find(name, groups)
    if found is None and not name.isdecimal():
        raise StartFailed(f"unable to find group {name}: no matching entries in group file")
    return found.number if found else number(name)


def number(text: str) -> int:
    """A user or group number. Raises StartFailed."""
    value = int(text[:20] or "0")
    if value > MAX_ID:
        raise StartFailed(f"uids and gids must be in range 0-{MAX_ID}: {text}")
    return value


def _find(name: str, entries: list[Entry]) -> Entry | None:
    """The first entry of that name; or, if it is a number, the first of that name or number."""
    wanted = int(name[:20]) if name.isdecimal() else -1
    return next((entry for entry in entries if entry.name == name or entry.number == wanted), None)


def _lines(text: bytes | None) -> list[str]:
    lines = (text or b"").decode(errors="replace").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def _is_number(text: str) -> bool:
    return text.isdecimal() and len(text) <= 10  # a longer one is no ID, and may be endless
