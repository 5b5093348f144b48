"""Starts that fail: the message, the exit code, and nothing left behind."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from bundles import Runtime, TestBundle, eventually, make_bundle, make_rootfs

from minirund import wire


@pytest.fixture(scope="module")
def lower(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_rootfs(tmp_path_factory.mktemp("lower") / "root")
    (root / "plain").write_text("no program\n")
    (root / "plain").chmod(0o644)
    (root / "script").write_text("#!/no/such/interpreter\n")
    (root / "script").chmod(0o755)
    (root / "rubbish").write_bytes(b"\x00\x01\x02")
    (root / "rubbish").chmod(0o755)
    return root


@pytest.fixture
def bundle(tmp_path: Path, lower: Path) -> TestBundle:
    return make_bundle(tmp_path, lower)


def fails(runtime: Runtime, bundle: TestBundle, *args: str) -> wire.Failed:
    """Launch it, and see that nothing of it is left."""
    result = runtime.run(bundle, *args)
    assert result.failed is not None, result
    assert not os.path.exists(bundle.cgroup)
    assert os.listdir(bundle.bundle.run) == []
    assert bundle.bundle.read_exit() is None
    shims = eventually(lambda: shims_of(bundle) == [], "the shim stays")
    assert shims
    return result.failed


def shims_of(bundle: TestBundle) -> list[int]:
    """Processes whose command line names the bundle's ID as a shim's."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split()
        except OSError:
            continue
        if words[:2] == [b"minirund-shim", bundle.id.encode()]:
            found.append(int(pid))
    return found


@pytest.mark.parametrize(
    ("program", "message", "code"),
    [
        ("foo", 'exec: "foo": executable file not found in $PATH', 127),
        ("/bin/nope", 'exec: "/bin/nope": stat /bin/nope: no such file or directory', 127),
        ("/plain", 'exec: "/plain": permission denied', 126),
        ("/etc", 'exec: "/etc": is a directory: permission denied', 126),
        ("/plain/x", 'exec: "/plain/x": stat /plain/x: not a directory', 127),
        ("/script", "exec /script: no such file or directory", 127),
        ("/rubbish", "exec /rubbish: exec format error", 126),
    ],
)
def test_programs_that_cannot_run(runtime: Runtime, bundle: TestBundle, program: str, message: str, code: int) -> None:
    failed = fails(runtime, bundle, program)
    assert (failed.message, failed.exit_code) == (message, code)


@pytest.mark.parametrize(
    ("user", "message"),
    [
        ("nosuch", "unable to find user nosuch: no matching entries in passwd file"),
        ("user:nosuch", "unable to find group nosuch: no matching entries in group file"),
        ("4294967296", "uids and gids must be in range 0-2147483647: 4294967296"),
    ],
)
def test_users_that_are_none(runtime: Runtime, bundle: TestBundle, user: str, message: str) -> None:
    bundle.config["process"]["user"]["username"] = user
    failed = fails(runtime, bundle, "true")
    assert (failed.message, failed.exit_code) == (message, 125)


def test_cwd_that_is_a_file(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["cwd"] = "/etc/passwd"
    failed = fails(runtime, bundle, "true")
    assert failed.message == 'chdir to cwd ("/etc/passwd") set in config.json failed: not a directory'
    assert failed.exit_code in (126, 127)


def test_no_command(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["args"] = []
    assert fails(runtime, bundle).exit_code == 127


def test_arguments_too_long(runtime: Runtime, bundle: TestBundle) -> None:
    failed = fails(runtime, bundle, "/bin/true", "x" * (1 << 18))
    assert (failed.message, failed.exit_code) == ("exec /bin/true: argument list too long", 126)


CHANGES = {
    "hooks": lambda c: c.update(hooks={"prestart": [{"path": "/bin/true"}]}),
    "an AppArmor profile": lambda c: c["process"].update(apparmorProfile="docker-default"),
    "a namespace that is none": lambda c: c["linux"]["namespaces"].append({"type": "network", "path": "/etc/passwd"}),
    "a namespace that has gone": lambda c: c["linux"]["namespaces"].append({"type": "ipc", "path": "/proc/0/ns/ipc"}),
    "an unknown namespace": lambda c: c["linux"]["namespaces"].append({"type": "nonsense"}),
    "an unknown file system": lambda c: c["mounts"].append({"type": "nofs", "destination": "/x"}),
    "a bad mount option": lambda c: c["mounts"].append(
        {"type": "tmpfs", "destination": "/x", "options": ["nonsense=1"]}
    ),
    "a root that is not there": lambda c: (c["minirund"].pop("rootfs"), c["root"].update(path="/no/such/root")),
    "a layer that is not there": lambda c: c["minirund"]["rootfs"].update(lower=["no-such-layer"]),
    "an unknown capability": lambda c: c["process"]["capabilities"]["bounding"].append("CAP_NONSENSE"),
    "an unknown limit": lambda c: c["process"].update(rlimits=[{"type": "RLIMIT_X", "soft": 1, "hard": 1}]),
    "a soft limit over the hard": lambda c: c["process"].update(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 20, "hard": 10}]
    ),
    "an unknown seccomp action": lambda c: c["linux"].update(seccomp={"defaultAction": "SCMP_ACT_X"}),
    "a device rule that is none": lambda c: c["linux"]["resources"].update(devices=[{"allow": True, "type": "x"}]),
    "a device of unknown type": lambda c: c["linux"].update(devices=[{"path": "/dev/x", "type": "q"}]),
    "a limit for cgroup v1": lambda c: c["linux"]["resources"].update(network={"classID": 7}),
    "a host name too long": lambda c: c.update(hostname="x" * 100),
    "an oom score out of range": lambda c: c["process"].update(oomScoreAdj=5000),
    "a log that cannot be": lambda c: c["minirund"].update(log="no/such/directory/log"),
    "process is missing": lambda c: c.pop("process"),
    "linux is a list": lambda c: c.update(linux=["x"]),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_every_failing_step_is_told_and_leaves_nothing(runtime: Runtime, bundle: TestBundle, change: object) -> None:
    change(bundle.config)  # type: ignore[operator]
    if "process" in bundle.config:
        bundle.config["process"]["args"] = ["/bin/true"]
    else:
        bundle.bundle.write_config(bundle.config)
    failed = fails(runtime, launchable(bundle))
    assert failed.message
    assert "Traceback" not in failed.message


def launchable(bundle: TestBundle) -> TestBundle:
    """``run`` looks at process.terminal: let it, where there is none."""
    if "process" not in bundle.config:
        bundle.config = Headless(bundle.config)
    return bundle


class Headless(dict):  # type: ignore[type-arg]
    """A configuration without a process that can be asked for one."""

    def __getitem__(self, key: str) -> object:
        return {} if key == "process" else super().__getitem__(key)


def test_raising_a_hard_limit_says_what_it_needs(runtime: Runtime, bundle: TestBundle) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    bundle.config["process"]["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]
    result = runtime.run(bundle, "/bin/true")
    if result.failed is not None:  # a host with CAP_SYS_RESOURCE may raise it
        assert "CAP_SYS_RESOURCE" in result.failed.message
        assert result.failed.errno == 1


def test_a_bundle_without_config_is_told(runtime: Runtime, bundle: TestBundle) -> None:
    ours, report = wire.Channel.pair()
    runtime.channel.send(wire.Launch("x", "/no/such/bundle", bundle.bundle.run), [report.fileno()])
    report.close()
    received = ours.receive()
    assert received is not None
    assert isinstance(received[0], wire.Failed)
    assert received[0].errno == 2
    assert ours.receive() is None
    ours.close()
