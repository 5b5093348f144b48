"""A quota on the read-write layer, under a live daemon whose data root is an ext4 with project quotas.

Where the kernel holds none these tests are skipped; the machine under QEMU runs them. They are in order: each goes on
with the daemon, or the disk, as the one before has left it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon import DaemonHost
from quota_disks import MIB, OVER, image, mount_loop
from waiting import until

from overlayfs import quota

pytestmark = pytest.mark.root
FULL = OVER["ext4"]
WRITE = "dd if=/dev/zero of=/much bs=64k count=128"  # 8 MiB


@pytest.fixture(scope="module")
def host(bare_host: DaemonHost, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaemonHost]:
    host, data = bare_host, f"{bare_host.state}/data"
    host.run("mkdir", "-p", data, check=True)
    mount_loop(image("ext4", tmp_path_factory.mktemp("disk")), data, enter=host.inside())
    host.start()
    host.load_busybox()
    yield host
    if host.daemon and host.daemon.poll() is None:
        host.remove_containers()
        host.stop()
    host.run("umount", data, check=True)


def data_root(host: DaemonHost) -> Path:
    return Path(f"/proc/{host.holder}/root{host.state}/data")


def layers(host: DaemonHost) -> dict[Path, quota.Quota]:
    """The layers, of containers and in the trash, that have a quota."""
    found = {path: quota.look(str(path)) for path in data_root(host).glob("*/*/rw")}
    return {path: one for path, one in found.items() if one}


def storage(host: DaemonHost, name: str) -> dict[str, str]:
    return host.api("GET", f"/containers/{name}/json")[1]["HostConfig"]["StorageOpt"]  # type: ignore[no-any-return]


def test_a_container_is_held_to_its_size(host: DaemonHost) -> None:
    size = ("--storage-opt", "size=4m")
    done = host.cli("run", "--name", "small", *size, "busybox", "sh", "-c", f"df -k / | tail -1; {WRITE}")
    assert done.stdout.split()[1] == "4096"
    assert (done.returncode, FULL in done.stderr) == (1, True), done.stderr
    assert storage(host, "small") == {"size": "4m"}
    assert "A /much" in host.cli("diff", "small").stdout
    assert host.cli("run", "--rm", "busybox", "sh", "-c", WRITE).returncode == 0


def test_root_in_it_can_t_lift_the_limit(host: DaemonHost) -> None:
    """With the host's chattr: the flag off the root directory would be the end of it, and so would another project."""
    programs = [word for path in ("/usr", "/lib", "/lib64") for word in ("-v", f"{path}:{path}:ro")]
    options = ("--storage-opt", "size=4m", "--security-opt", "seccomp=unconfined", *programs)
    tried = f"touch /much; chattr -P /; chattr -p 0 /much; {WRITE}"
    done = host.cli("run", "--rm", *options, "busybox", "sh", "-c", tried)
    assert done.stderr.count("Operation not supported") == 2, done.stderr
    assert (done.returncode, FULL in done.stderr) == (1, True), done.stderr


def test_it_holds_under_the_next_daemon_and_goes_with_the_container(host: DaemonHost) -> None:
    host.kill9()
    host.start("--storage-opt", "overlay2.size=3m")
    again = host.cli("start", "-a", "small")  # with a layer that is full
    assert (again.returncode, FULL in again.stderr) == (1, True), again.stderr
    assert [found.limit for found in layers(host).values()] == [4 * MIB]
    assert host.cli("rm", "small").returncode == 0
    until(lambda: not layers(host), "its quota stays")


def test_the_daemon_s_own_size_is_for_who_asks_for_nothing(host: DaemonHost) -> None:
    for name, options in (("default", []), ("free", ["--storage-opt", "size=0"])):
        assert host.cli("create", "--name", name, *options, "busybox", "true").returncode == 0
    assert (storage(host, "default"), storage(host, "free")) == ({"size": "3145728"}, {"size": "0"})
    assert [found.limit for found in layers(host).values()] == [3 * MIB]
