"""Names and paths of systemd's slices and of our scopes in them, and the command line that has one made."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from minirund.engine.scopes import Scope, entered, is_slice, runs_here, scope_at, slice_path
from minirund.errors import InvalidArgument


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("-.slice", ""),
        ("system.slice", "/system.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
        (r"user\x2d1.slice", r"/user\x2d1.slice"),
    ],
)
def test_where_a_slice_is(name: str, path: str) -> None:
    assert slice_path(name) == path
    scope = Scope.new(name)
    assert scope.path == f"{path}/{scope.unit}"


@pytest.mark.parametrize(
    "name", [".slice", "-a.slice", "a-.slice", "a--b.slice", "a b.slice", "ä.slice", "x" * 250 + ".slice", "a\n.slice"]
)
def test_what_is_no_slice(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r'valid slice named as "xxx\.slice"'):
        Scope.new(name)


def test_a_slice_is_meant_by_a_name_alone() -> None:
    assert [is_slice(text) for text in ("a.slice", "/a.slice", "a.slice/b", "a", "")] == [True, *[False] * 4]


def test_a_scope_is_known_by_its_path_and_is_another_each_time() -> None:
    one, other = Scope.new("a-b.slice"), Scope.new("a-b.slice")
    assert one != other
    assert scope_at(one.path) == one
    for path in ("", "/minirund", "/a.slice/theirs.scope", "/a.slice/minirund-x.scope", f"{one.path}/ID"):
        assert scope_at(path) is None


def test_the_command_line_asks_for_a_scope_that_is_delegated_and_goes_into_a_leaf_of_it() -> None:
    scope = Scope("a.slice", "minirund-00000000.scope")
    words = scope.command(Cgroup("/top"), ["program", "--option"])
    assert words[0] == "systemd-run"
    asked, run = words[1 : words.index("--")], words[words.index("--") + 1 :]
    assert {"--scope", "--collect", f"--unit={scope.unit}", "--slice=a.slice", "--property=Delegate=yes"} <= {*asked}
    assert run[-3:] == ["/top/a.slice/minirund-00000000.scope/shims", "program", "--option"]


def test_systemd_is_in_charge_of_nothing_but_its_own_hierarchy(tmp_path: Path) -> None:
    assert not runs_here(Cgroup(str(tmp_path)))


def test_waiting_for_a_process_ends_when_it_is_there_and_when_it_has_gone(tmp_path: Path) -> None:
    """On a plain directory: whoever is in cgroup.procs is in the cgroup."""
    shims, looks = Cgroup(f"{tmp_path}/shims"), [0]

    def comes_at_the_third_look() -> bool:
        looks[0] += 1
        if looks[0] == 3:
            Path(shims.path).mkdir()
            Path(shims.path, "cgroup.procs").write_text("7\n12\n")
        return True

    assert asyncio.run(entered(shims, 12, comes_at_the_third_look))
    assert not asyncio.run(entered(shims, 13, lambda: False))
