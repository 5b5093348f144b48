"""What a container sees and may do. Take the default configuration, change one thing, run, look."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import Result, Runtime, TestBundle, eventually, make_bundle, make_rootfs

from minirund import wire


def lines(result: Result) -> list[str]:
    assert result.code == 0, result
    return result.stdout.decode().splitlines()


def test_output_input_and_exit_code(runtime: Runtime, bundle: TestBundle) -> None:
    result = runtime.run(bundle, "/bin/sh", "-c", "read line; echo got $line; echo bad >&2; exit 7", stdin=b"typed\n")
    assert (result.code, result.stdout, result.stderr) == (7, b"got typed\n", b"bad\n")
    exited = bundle.bundle.read_exit()
    assert exited is not None
    assert exited.code == 7
    assert bundle.records() == [("stdout", "F", b"got typed"), ("stderr", "F", b"bad")]


def test_nothing_is_left_behind(runtime: Runtime, bundle: TestBundle) -> None:
    mounts = Path("/proc/self/mountinfo").read_text()
    assert runtime.sh(bundle, "sleep 1000 & exit 0").code == 0
    assert not os.path.exists(bundle.cgroup)
    assert os.listdir(bundle.bundle.run) == []
    assert Path("/proc/self/mountinfo").read_text() == mounts


def test_init_is_process_1_and_sees_only_its_own(runtime: Runtime, bundle: TestBundle) -> None:
    assert lines(runtime.sh(bundle, "echo $$; echo /proc/[0-9]*; true")) == ["1", "/proc/1"]


def test_namespaces_are_its_own(runtime: Runtime, bundle: TestBundle) -> None:
    kinds = ("mnt", "net", "uts", "pid", "ipc", "cgroup")
    seen = lines(runtime.sh(bundle, "for n in mnt net uts pid ipc cgroup; do readlink /proc/self/ns/$n; done"))
    for kind, inside in zip(kinds, seen, strict=True):
        assert inside.startswith(f"{kind}:[")
        assert inside != os.readlink(f"/proc/self/ns/{kind}")


def test_host_network(runtime: Runtime, bundle: TestBundle) -> None:
    spaces = bundle.config["linux"]["namespaces"]
    bundle.config["linux"]["namespaces"] = [each for each in spaces if each["type"] != "network"]
    assert lines(runtime.sh(bundle, "readlink /proc/self/ns/net; ls -d /sys/class/net/lo")) == [
        os.readlink("/proc/self/ns/net"),
        "/sys/class/net/lo",
    ]


def test_host_pid_ipc_uts(runtime: Runtime, bundle: TestBundle) -> None:
    shared = ("pid", "ipc", "uts")
    spaces = bundle.config["linux"]["namespaces"]
    bundle.config["linux"]["namespaces"] = [each for each in spaces if each["type"] not in shared]
    seen = lines(runtime.sh(bundle, "for n in pid ipc uts; do readlink /proc/self/ns/$n; done; hostname; sleep 99 &"))
    assert seen == [*(os.readlink(f"/proc/self/ns/{kind}") for kind in shared), os.uname().nodename]
    assert not os.path.exists(bundle.cgroup)


def test_joins_namespaces_by_path(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    first = make_bundle(tmp_path, lower)
    running = runtime.launch(first, "/bin/sleep", "1000")
    pid = running.started().pid
    second = make_bundle(tmp_path, lower)
    for each in second.config["linux"]["namespaces"]:
        if each["type"] in ("network", "pid", "ipc", "uts"):
            name = {"network": "net"}.get(each["type"], each["type"])
            each["path"] = f"/proc/{pid}/ns/{name}"
    seen = lines(runtime.sh(second, "for n in net pid ipc uts; do readlink /proc/self/ns/$n; done; ps | grep -c sleep"))
    assert seen[:4] == [os.readlink(f"/proc/{pid}/ns/{name}") for name in ("net", "pid", "ipc", "uts")]
    assert int(seen[4]) >= 1
    assert running.kill() == 137


def test_network_namespace_by_descriptor(runtime: Runtime, bundle: TestBundle) -> None:
    netns = os.open("/proc/self/ns/net", os.O_RDONLY)
    container = runtime.launch(bundle, "/bin/readlink", "/proc/self/ns/net", netns=netns)
    os.close(netns)
    assert container.exited() == 0
    assert bundle.logged().decode().strip() == os.readlink("/proc/self/ns/net")


def test_names(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config.update(hostname="box", domainname="example.org")
    assert lines(runtime.sh(bundle, "hostname; cat /proc/sys/kernel/domainname")) == ["box", "example.org"]


def test_only_three_descriptors(runtime: Runtime, bundle: TestBundle) -> None:
    assert lines(runtime.sh(bundle, "ls /proc/1/fd; true")) == ["0", "1", "2"]
    assert lines(runtime.run(bundle, "ls", "/proc/self/fd")) == ["0", "1", "2", "3"]


def test_dev_has_the_standard_nodes_and_links(runtime: Runtime, bundle: TestBundle) -> None:
    script = "cd /dev; for n in null zero full random urandom tty; do stat -c '%n %a %t %T' $n; done"
    script += "; readlink fd; readlink ptmx"
    assert lines(runtime.sh(bundle, script)) == [
        *("null 666 1 3", "zero 666 1 5", "full 666 1 7", "random 666 1 8", "urandom 666 1 9", "tty 666 5 0"),
        *("/proc/self/fd", "pts/ptmx"),
    ]
    assert lines(runtime.sh(bundle, "echo a > /dev/stdout; ls -d /dev/shm /dev/mqueue /dev/pts"))[0] == "a"


def test_more_devices(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["linux"]["devices"] = [
        {"path": "/dev/deep/down", "type": "c", "major": 1, "minor": 3, "fileMode": 0o640, "uid": 5, "gid": 6}
    ]
    assert lines(runtime.sh(bundle, "stat -c '%a %u %g %t %T %F' /dev/deep/down")) == [
        "640 5 6 1 3 character special file"
    ]


def test_the_device_program_denies(runtime: Runtime, bundle: TestBundle) -> None:
    assert lines(runtime.sh(bundle, "mknod /tmp/kmsg c 1 11 && cat /tmp/kmsg 2>&1 || true")) == [
        "cat: can't open '/tmp/kmsg': Operation not permitted"
    ]


def test_masked_and_readonly_paths(runtime: Runtime, bundle: TestBundle) -> None:
    script = "cat /proc/keys /proc/timer_list | wc -c; ls /sys/firmware | wc -l; echo 1 > /proc/sys/vm/swappiness"
    result = runtime.sh(bundle, script)
    assert result.stdout.split() == [b"0", b"0"]
    assert b"Read-only file system" in result.stderr


def test_readonly_root_leaves_mounts_writable(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["root"]["readonly"] = True
    result = runtime.sh(bundle, "touch /x; touch /dev/shm/y && echo yes")
    assert result.stdout == b"yes\n"
    assert b"Read-only file system" in result.stderr


def test_plain_directory_as_root(runtime: Runtime, bundle: TestBundle, tmp_path: Path) -> None:
    root = make_rootfs(tmp_path / "plain")
    del bundle.config["minirund"]["rootfs"]
    bundle.config["root"]["path"] = str(root)
    assert runtime.sh(bundle, "echo hello > /made").code == 0
    assert (root / "made").read_text() == "hello\n"


def test_writes_go_to_the_upper_layer(runtime: Runtime, bundle: TestBundle, lower: Path) -> None:
    assert runtime.sh(bundle, "echo hello > /made; rm /etc/group").code == 0
    assert (bundle.upper / "made").read_text() == "hello\n"
    assert stat.S_ISCHR((bundle.upper / "etc/group").lstat().st_mode)
    assert (lower / "etc/group").exists()


def bind(source: Path, destination: str, *options: str) -> dict[str, object]:
    return {"type": "bind", "source": str(source), "destination": destination, "options": ["rbind", *options]}


def test_bind_mounts_of_directories_and_files(runtime: Runtime, bundle: TestBundle, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "file").write_text("content\n")
    bundle.config["mounts"] += [
        bind(tmp_path / "volume", "/deep/in/there", "rprivate"),
        bind(tmp_path / "file", "/etc/some/file", "ro", "nosuid"),
    ]
    result = runtime.sh(bundle, "echo 1 > /deep/in/there/made; cat /etc/some/file; echo 2 > /etc/some/file")
    assert result.stdout == b"content\n"
    assert b"Read-only" in result.stderr
    assert (tmp_path / "volume/made").read_text() == "1\n"


def test_a_missing_bind_source_is_named(runtime: Runtime, bundle: TestBundle, tmp_path: Path) -> None:
    bundle.config["mounts"].append(bind(tmp_path / "nowhere", "/x"))
    failed = runtime.run(bundle, "true").failed
    assert failed is not None
    assert (failed.errno, failed.path, failed.exit_code) == (2, str(tmp_path / "nowhere"), 125)


def test_mount_options(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["mounts"].append(
        {"type": "tmpfs", "source": "tmpfs", "destination": "/cache", "options": ["noexec", "size=1m", "mode=700"]}
    )
    row = lines(runtime.sh(bundle, "grep ' /cache ' /proc/mounts; stat -c %a /cache"))
    assert "noexec" in row[0]
    assert "size=1024k" in row[0]
    assert row[1] == "700"


def test_cgroup_is_its_own_root_and_readonly(runtime: Runtime, bundle: TestBundle) -> None:
    result = runtime.sh(bundle, "grep ^0:: /proc/self/cgroup; cat /sys/fs/cgroup/cgroup.procs; mkdir /sys/fs/cgroup/x")
    assert result.stdout.split(b"\n")[0] == b"0::/"
    assert b"1" in result.stdout.split()
    assert b"Read-only" in result.stderr


def test_sysctl(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["linux"]["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.msgmax": "9000"}
    assert lines(runtime.sh(bundle, "cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax")) == ["1", "9000"]


@pytest.mark.parametrize("name", ["vm.swappiness", "kernel.panic", "net/../vm/swappiness"])
def test_sysctl_of_the_host_is_refused(runtime: Runtime, bundle: TestBundle, name: str) -> None:
    bundle.config["linux"]["sysctl"] = {name: "1"}
    failed = runtime.run(bundle, "true").failed
    assert failed is not None
    assert "sysctl" in failed.message


def test_signals_are_at_their_defaults(runtime: Runtime, bundle: TestBundle) -> None:
    result = runtime.run(bundle, "grep", "Sig", "/proc/self/status")
    table = dict(line.split(":\t") for line in lines(result))
    assert {table[name] for name in ("SigBlk", "SigIgn", "SigCgt")} == {"0000000000000000"}


def test_signals_that_make_ignores_are_at_their_defaults(tmp_path: Path, bundle: TestBundle) -> None:
    """What GNU make's children are born with is not for containers."""
    bundle.config["process"]["args"] = ["grep", "SigIgn", "/proc/self/status"]
    bundle.bundle.write_config(bundle.config)
    command = f"{sys.executable} -m minirund.runtime run {bundle.bundle.directory}"
    (tmp_path / "Makefile").write_text(f"all:\n\t@{command}\n")
    done = subprocess.run(["make", "-s", "-C", str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SigIgn:", "0000000000000000"]


def test_umask_and_environment(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["env"] = ["PATH=/bin", "A=1=2", "B="]
    assert sorted(lines(runtime.run(bundle, "env"))) == ["A=1=2", "B=", "HOME=/root", "PATH=/bin"]
    assert lines(runtime.sh(bundle, "umask")) == ["0022"]
    bundle.config["process"]["user"]["umask"] = 0o077
    assert lines(runtime.sh(bundle, "umask")) == ["0077"]


def test_cwd_is_made(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["cwd"] = "/not/there/yet"
    assert lines(runtime.run(bundle, "pwd")) == ["/not/there/yet"]


def test_long_paths(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    bundle = make_bundle(deep, lower)
    container = runtime.launch(bundle, "/bin/sleep", "1000")
    container.started()
    container.shim_pid()
    assert container.reconnect().exited is None
    assert container.kill() == 137


@pytest.mark.parametrize(("number", "code"), [(15, 143), (9, 137), (2, 130)])
def test_signals_end_it(runtime: Runtime, bundle: TestBundle, number: int, code: int) -> None:
    """Process 1 has no default for a signal but SIGKILL: it traps the others, and says when it does."""
    script = f"trap 'exit {code}' TERM INT; echo ready; while :; do sleep 0.02; done"
    container = runtime.launch(bundle, "/bin/sh", "-c", script)
    container.started()
    eventually(lambda: bundle.logged() == b"ready\n")
    container.control.send(wire.Signal(number))
    assert container.exited() == code


def test_a_limit_without_controller_is_refused_by_name(runtime: Runtime, bundle: TestBundle) -> None:
    controllers = Path(bundle.cgroup).parents[1] / "cgroup.controllers"
    if "memory" in controllers.read_text().split():
        pytest.skip("this host offers the memory controller")
    bundle.config["linux"]["resources"]["memory"] = {"limit": 64 << 20}
    failed = runtime.run(bundle, "true").failed
    assert failed is not None
    assert "memory" in failed.message
    assert not os.path.exists(bundle.cgroup)
    assert os.listdir(bundle.bundle.run) == []
