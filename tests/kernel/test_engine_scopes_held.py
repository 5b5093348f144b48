"""Holding a scope, in real cgroups; a script stands in for the systemd-run of a machine with systemd (tests/vm)."""

from __future__ import annotations

import asyncio
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgroups.cgroup import Cgroup
from minirund.engine.scopes import Scope, held
from minirund.errors import EngineError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="making cgroups needs root")
SCOPE = Scope("a.slice", "minirund-00000000.scope")
MAKES = 'while [ "$1" != -- ]; do shift; done; shift; mkdir -p "$SCOPE" && exec "$@"'


@pytest.fixture
def top() -> Iterator[Cgroup]:
    """The top of a hierarchy: a cgroup with this name will do."""
    group = Cgroup.at(f"test-scopes-{uuid.uuid4().hex[:8]}")
    group.create(())
    yield group
    group.remove()


@pytest.fixture
def systemd_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: Cgroup) -> Path:
    """A program of that name at the beginning of PATH; it makes the scope."""
    program = tmp_path / "systemd-run"
    program.write_text(f"#!/bin/sh\n{MAKES}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SCOPE", top.path + SCOPE.path)
    return program


def test_a_scope_is_held_by_a_process_in_it_that_goes_again(top: Cgroup, systemd_run: Path) -> None:
    async def hold() -> list[int]:
        async with held(top, SCOPE, lambda: None):
            return SCOPE.shims(top).processes()

    pids = asyncio.run(hold())
    assert len(pids) == 1
    assert not Path(f"/proc/{pids[0]}").exists()
    assert not SCOPE.shims(top).exists()


def test_a_hold_is_let_go_when_what_it_was_for_fails(top: Cgroup, systemd_run: Path) -> None:
    async def fail() -> None:
        async with held(top, SCOPE, lambda: None):
            raise ValueError("other")

    with pytest.raises(ValueError, match="other"):
        asyncio.run(fail())
    assert top.processes() == []


def test_another_process_takes_the_place_of_who_holds(top: Cgroup, systemd_run: Path) -> None:
    """One that has ended by then is no error."""

    async def hold(pid: int) -> None:
        async with held(top, SCOPE, lambda: pid):
            pass

    with subprocess.Popen(["sleep", "600"]) as process:
        asyncio.run(hold(process.pid))
        assert top.processes() == [process.pid]
        process.kill()
    top.wait_empty()
    SCOPE.shims(top).remove()
    asyncio.run(hold(process.pid))
    assert top.processes() == []


def test_what_systemd_says_is_passed_on(top: Cgroup, systemd_run: Path) -> None:
    systemd_run.write_text("#!/bin/sh\necho 'Failed to start: no.' >&2\nexit 1\n")

    async def hold() -> None:
        async with held(top, SCOPE, lambda: None):
            pass

    with pytest.raises(EngineError, match=rf"^systemd did not make the scope {SCOPE.unit} in a.slice: Failed to sta"):
        asyncio.run(hold())
