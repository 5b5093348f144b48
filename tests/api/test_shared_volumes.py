"""Volumes whose mounts go both ways: what a container mounts in one is there on the host, and nothing else of it is.

On a host like most: all of its mounts are shared.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import DaemonHost

MAY_MOUNT = ("--cap-add", "SYS_ADMIN", "--security-opt", "seccomp=unconfined")


@pytest.fixture(scope="module")
def host() -> Iterator[DaemonHost]:
    with DaemonHost() as host:
        host.run("mount", "--make-rshared", "/", check=True)
        host.run("mkdir", f"{host.state}/volume", check=True)
        host.start()
        host.load_busybox()
        yield host


def mounted(host: DaemonHost) -> set[str]:
    """Where the host has something mounted, by now."""
    table = host.run("cat", "/proc/self/mountinfo", check=True).stdout
    return {line.split()[4] for line in table.splitlines()}


@pytest.mark.parametrize(
    ("mode", "seen"), [("rshared", True), ("shared", True), ("rslave", False), ("rprivate", False)]
)
def test_what_is_mounted_inside(host: DaemonHost, mode: str, seen: bool) -> None:
    before = mounted(host)
    volume = f"{host.state}/volume"
    command = ("sh", "-c", "mkdir -p /v/inside && mount -t tmpfs none /v/inside && mkdir /own && mount -t tmpfs x /own")
    done = host.cli("run", "--rm", *MAY_MOUNT, "-v", f"{volume}:/v:{mode}", "busybox", *command)
    assert (done.returncode, done.stderr) == (0, "")
    assert mounted(host) - before == ({f"{volume}/inside"} if seen else set())
    assert before <= mounted(host)
    host.run("umount", *(f"{volume}/inside",) * seen)


@pytest.mark.parametrize(("mode", "seen"), [("rshared", "yes\n"), ("rslave", "yes\n"), ("rprivate", "")])
def test_what_is_mounted_outside(host: DaemonHost, mode: str, seen: str) -> None:
    volume = f"{host.state}/volume"
    host.run("mkdir", "-p", f"{volume}/outside", check=True)
    ident = host.cli("run", "-d", "-v", f"{volume}:/v:{mode}", "busybox", "sleep", "1000").stdout.strip()
    host.run("mount", "-t", "tmpfs", "none", f"{volume}/outside", check=True)
    host.run("touch", f"{volume}/outside/it", check=True)
    try:
        assert host.cli("exec", ident, "sh", "-c", "test ! -e /v/outside/it || echo yes").stdout == seen
    finally:
        host.cli("rm", "-f", ident)
        host.run("umount", f"{volume}/outside", check=True)


def test_a_volume_that_nobody_would_see_into_is_refused(host: DaemonHost) -> None:
    host.run("mkdir", "-p", f"{host.state}/own/volume", check=True)
    host.run("mount", "-t", "tmpfs", "none", f"{host.state}/own", check=True)
    host.run("mount", "--make-private", f"{host.state}/own", check=True)
    host.run("mkdir", f"{host.state}/own/volume", check=True)
    done = host.cli("run", "--rm", "-v", f"{host.state}/own/volume:/v:shared", "busybox", "true")
    assert done.returncode == 125
    where = f"path {host.state}/own/volume is mounted on {host.state}/own"
    assert f"{where} but it is not a shared mount" in done.stderr
    host.run("umount", f"{host.state}/own", check=True)


def test_a_file_on_a_directory_is_named(host: DaemonHost, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = host.cli("run", "--rm", "-v", f"{tmp_path}/file:/etc", "busybox", "true")
    assert done.returncode == 125
    assert "mount a file on a directory: /etc: " in done.stderr
