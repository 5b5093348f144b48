"""Who is stopped is killed where a start may wait for him: the spawner, its zygote, the shim that waits, one's own."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest
from bundles import PATIENCE, Runtime, TestBundle, eventually, make_bundle
from test_runtime_zygote import waiting, zygote

from cgroups.cgroup import Cgroup
from minirund.engine import stopped
from minirund.errors import Unavailable


def stop(pid: int) -> None:
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: stopped.state(pid) == stopped.STOPPED)


def is_dead(pid: int) -> bool:
    return stopped.state(pid) in {"", "Z"}


def test_the_shim_that_waits(bundle: TestBundle) -> None:
    """The start that lies at the door is the next one's."""
    with Runtime() as runtime:
        shim = waiting(zygote(runtime))
        stop(shim)
        container = runtime.launch(bundle, "/bin/sleep", "1000")
        stopped.end(runtime.process.pid, bundle.id)
        container.started()
        eventually(lambda: is_dead(shim))
        assert container.kill() == 137


def test_a_start_waits_for_the_last_shim_until_its_root_is_unmounted(
    runtime: Runtime, bundle: TestBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    asyncio.run(stopped.let_go(bundle.bundle, "one that has never run"))
    container = runtime.launch(bundle, "/bin/true")
    assert container.exited(release=False) == 0
    shim = container.shim_pid()

    async def wait() -> None:
        waiting = asyncio.create_task(stopped.let_go(bundle.bundle, "web"))
        await asyncio.wait([waiting], timeout=0.1)
        assert not waiting.done()
        container.release()
        await waiting

    asyncio.run(wait())
    monkeypatch.setattr(stopped, "DISK_PATIENCE", 0.05)
    bundle.bundle.write_shim_pid(os.getpid())  # one that does not end
    with pytest.raises(Unavailable, match=f"container web: .*process {os.getpid()}.* is still unmounting"):
        asyncio.run(stopped.let_go(bundle.bundle, "web"))
    assert shim != os.getpid()
    os.unlink(bundle.bundle.shim_pid)


def test_a_last_shim_that_is_stopped_is_killed(
    runtime: Runtime, bundle: TestBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    container = runtime.launch(bundle, "/bin/true")
    assert container.exited(release=False) == 0
    shim = container.shim_pid()
    stop(shim)
    monkeypatch.setattr(stopped, "PATIENCE", 0.05)
    asyncio.run(stopped.let_go(bundle.bundle, "web"))
    assert is_dead(shim)
    container.control.close()


def test_the_zygote_and_the_spawner(tmp_path: Path, lower: Path) -> None:
    runtime = Runtime()
    of = zygote(runtime)
    waits = waiting(of)
    for pid in (of, waits, runtime.process.pid):
        stop(pid)
    bundle = make_bundle(tmp_path, lower)
    container = runtime.launch(bundle, "/bin/true")
    stopped.end(runtime.process.pid, bundle.id)
    assert container.next() is None  # the daemon hears nothing, and asks a new spawner
    container.control.close()
    assert runtime.process.wait(PATIENCE) == -signal.SIGKILL
    eventually(lambda: is_dead(of) and is_dead(waits))
    with runtime:
        pass


def test_shims_of_others_are_not_touched(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    bundles = [make_bundle(tmp_path, lower) for _ in range(2)]
    own, other = (runtime.launch(bundle, "/bin/sleep", "1000") for bundle in bundles)
    shims = [container.started() and container.shim_pid() for container in (own, other)]
    for shim in shims:
        stop(shim)
    stopped.end(runtime.process.pid, bundles[0].id)
    eventually(lambda: is_dead(shims[0]))
    assert stopped.state(shims[1]) == stopped.STOPPED
    os.kill(shims[1], signal.SIGCONT)
    assert other.kill() == 137
    own.control.close()
    Cgroup(bundles[0].cgroup).remove()


def test_nobody_is_killed_who_is_not_stopped(bundle: TestBundle) -> None:
    with Runtime() as runtime:
        pids = [runtime.process.pid, (of := zygote(runtime)), waiting(of)]
        stopped.end(runtime.process.pid, bundle.id)
        stopped.end(0, bundle.id)
        assert not any(is_dead(pid) for pid in pids)
        assert runtime.run(bundle, "/bin/true").code == 0
