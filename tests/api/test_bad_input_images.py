"""Images made to harm: pulled or loaded they are refused, started they get no further than their own container."""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemon import DaemonHost
from images import (
    Blob,
    Entry,
    Image,
    device,
    directory,
    docker_archive,
    executable,
    hardlink,
    image,
    index,
    oci_archive,
    replace_layer,
    symlink,
)
from inside import load, network_of
from scripted_registry import ScriptedRegistry, altered, cut, scripted_registry

pytestmark = pytest.mark.root
APPLETS = "sh cat ls id pwd true head readlink".split()
CANARY = "untouched"
LIMIT = 64 << 20


@pytest.fixture(scope="module", autouse=True)
def limited(host: DaemonHost) -> None:
    host.restart("--max-unpacked-size", str(LIMIT))


@pytest.fixture
def registry(host: DaemonHost) -> Iterator[ScriptedRegistry]:
    with network_of(host), scripted_registry() as one:
        yield one


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file of the host that every attack aims at."""
    file = tmp_path / "canary"
    file.write_text(CANARY)
    yield file
    assert file.read_text() == CANARY
    assert sorted(each.name for each in tmp_path.iterdir()) == ["canary"]


@pytest.fixture(autouse=True)
def nothing_left(host: DaemonHost) -> Iterator[None]:
    yield
    host.remove_containers()
    for one in host.api("GET", "/images/json")[1]:
        if "busybox:latest" not in one["RepoTags"]:
            host.api("DELETE", f"/images/{one['Id']}?force=1")
    assert host.cli("run", "--rm", "busybox", "echo", "ok").stdout == "ok\n"


def hostile(changes: dict[str, Any], **config: Any) -> Image:
    """A small image that runs, with some of its files exchanged; None takes one away."""
    files: dict[str, Any] = {name: directory() for name in ("bin", "etc", "proc", "sys", "dev", "tmp")}
    files["bin/busybox"] = executable(Path("/bin/busybox").read_bytes())
    files |= {f"bin/{name}": symlink("busybox") for name in APPLETS}
    files |= {"etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "etc/group": "root:x:0:\n"}
    for name in changes:
        for inner in [each for each in files if each == name or each.startswith(f"{name}/")]:
            del files[inner]
    files |= {name: value for name, value in changes.items() if value is not None}
    return image(files, config={"Cmd": ["ls", "/"], "Env": ["PATH=/bin"], **config})


def run(host: DaemonHost, changes: dict[str, Any], *words: str, options: tuple[str, ...] = (), **config: Any) -> Any:
    status, answer = load(host, hostile(changes, **config))
    assert (status, "error" in str(answer)) == (200, False), answer
    return host.cli("run", "--rm", *options, "evil:1", *words)


# ---- started


@pytest.mark.parametrize("target", ["/", "../../..", "/etc", "nowhere", "/proc/1/root"])
@pytest.mark.parametrize("name", ["proc", "sys"])
def test_proc_and_sys_through_a_link_are_refused(host: DaemonHost, name: str, target: str) -> None:
    done = run(host, {name: symlink(target)})
    assert (done.returncode, "must be mounted on an ordinary directory" in done.stderr) == (125, True)


@pytest.mark.parametrize("target", ["/", "../../..", "/proc/1/root"])
def test_dev_through_a_link_is_refused(host: DaemonHost, target: str) -> None:
    done = run(host, {"dev": symlink(target)})
    assert (done.returncode, done.stdout) == (125, "")


@pytest.mark.parametrize("name", ["etc/hosts", "etc/resolv.conf", "etc/hostname"])
def test_files_of_etc_through_links_stay_inside(host: DaemonHost, canary: Path, name: str) -> None:
    for target in (
        f"../../../../../..{canary}",
        str(canary),
        f"/proc/1/root{canary}",
        "/proc/self/fd/7",
        "/",
        name[4:],
    ):
        done = run(host, {name: symlink(target)}, "cat", f"/{name}")
        assert CANARY not in done.stdout + done.stderr
        assert done.returncode in {0, 1, 125}


def test_etc_itself_is_a_link(host: DaemonHost, canary: Path) -> None:
    done = run(host, {"etc": symlink(str(canary.parent))}, "cat", "/etc/canary")
    assert (done.returncode, CANARY in done.stdout) == (1, False)
    assert run(host, {"etc": b"a file"}).returncode == 125


@pytest.mark.parametrize("descriptor", range(3, 12))
def test_a_working_directory_that_is_a_descriptor(host: DaemonHost, descriptor: int) -> None:
    """CVE-2024-21626: a descriptor of the host's that init still has open, by its name in /proc.

    The exit code is the docker command's, which goes by the message: 127 where there is no such descriptor.
    """
    for changes, where in (({}, f"/proc/self/fd/{descriptor}"), ({"w": symlink(f"/proc/self/fd/{descriptor}")}, "/w")):
        done = run(host, changes, "ls", "../../../..", WorkingDir=where)
        assert (done.returncode, done.stdout) == (127 if "no such file" in done.stderr else 125, "")
        assert "chdir to cwd" in done.stderr


@pytest.mark.parametrize("where", ["/proc/1/root", "/proc/1/cwd/new", "/w"])
def test_a_working_directory_outside(host: DaemonHost, canary: Path, where: str) -> None:
    done = run(host, {"w": symlink(f"../../../..{canary.parent}")}, "ls", WorkingDir=where)
    assert "canary" not in done.stdout


ODD_FILES = {
    "fifo": Entry(kind=tarfile.FIFOTYPE),
    "kcore": symlink("/proc/kcore"),
    "zero": symlink("/dev/zero"),
    "device": device(1, 5),
    "directory": directory(),
    "huge": b"x:x:1:1::/:/bin/sh\n" * 2_000_000,
    "noise": hashlib.shake_128(b"noise").digest(100_000),
    "numbers": b":::\nsomeone2:x:" + b"9" * 6000 + b":0::/:\nr:x:-1:-1::\n",
    "missing": None,
}


@pytest.mark.parametrize("kind", ODD_FILES)
@pytest.mark.parametrize("name", ["etc/passwd", "etc/group"])
def test_passwd_and_group_of_a_hostile_kind(host: DaemonHost, name: str, kind: str) -> None:
    """Root needs neither; a name is not found, and nothing waits or grows for ever."""
    assert run(host, {name: ODD_FILES[kind]}, "true").returncode == 0
    done = run(host, {name: ODD_FILES[kind]}, "true", options=("-u", "someone" if name == "etc/passwd" else "0:some"))
    assert (done.returncode, "no matching entries in" in done.stderr) == (125, True)


@pytest.mark.parametrize("interpreter", ["/proc/self/exe", "/proc/1/exe", "/proc/self/fd/3"])
def test_our_interpreter_is_no_program_of_the_container(host: DaemonHost, interpreter: str) -> None:
    """CVE-2019-5736: who could execute or open it could overwrite it."""
    done = run(host, {"bin/evil": executable(f"#!{interpreter}\n")}, "/bin/evil")
    assert done.returncode in {126, 127}
    done = run(host, {"bin/evil": symlink(interpreter)}, "/bin/evil", "-c", "print('escaped')")
    assert (done.returncode in {126, 127}, done.stdout) == (True, "")


def test_an_exec_is_not_seen_with_anything_of_the_host(host: DaemonHost) -> None:
    """A program inside looks at every process that comes, while execs come."""
    script = """while [ ! -e /stop ]; do for p in /proc/[0-9]*; do
        l=$(readlink $p/exe); case "$l" in *python*) echo exe $p $l >>/found; echo >>$p/exe;; esac
        for f in $p/fd/*; do l=$(readlink $f); case "$l" in *python*|*minirun*) echo fd $f $l >>/found;; esac; done
        ls $p/cwd/ $p/root/ >/dev/null; done 2>/dev/null; done; echo done >>/found; cat /found"""
    assert load(host, hostile({}))[0] == 200
    host.cli("run", "-d", "--name", "looks", "evil:1", "sh", "-c", script)
    for _ in range(20):
        assert host.cli("exec", "looks", "true").returncode == 0
    host.cli("exec", "looks", "sh", "-c", ">/stop")
    host.cli("wait", "looks")
    assert host.cli("logs", "looks").stdout == "done\n"


def test_a_bind_mount_over_links(host: DaemonHost, canary: Path, tmp_path: Path) -> None:
    changes = {"out": symlink(f"../../../..{tmp_path}"), "file": symlink(str(canary))}
    for where in ("/out/new", "/file", "/out/canary"):
        assert run(host, changes, "true", options=("-v", f"/etc/hostname:{where}")).returncode == 0


# ---- brought in


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"Env": "A=1"}, "config.Env"),
        ({"Env": ["A\0=1"]}, "config.Env"),
        ({"Labels": ["a"]}, "config.Labels"),
        ({"Labels": {"a": 1}}, "config.Labels"),
        ({"Cmd": [1]}, "config.Cmd"),
        ({"Entrypoint": "sh"}, "config.Entrypoint"),
        ({"User": 0}, "config.User"),
        ({"ExposedPorts": ["80"]}, "config.ExposedPorts"),
        ({"WorkingDir": "\ud800"}, "config.WorkingDir"),
        ({"StopTimeout": "1"}, "config.StopTimeout"),
    ],
)
def test_a_configuration_of_wrong_types(
    host: DaemonHost, registry: ScriptedRegistry, config: dict[str, Any], field: str
) -> None:
    """Else it would break the lists that everybody reads."""
    registry.add("odd", hostile({}, **config))
    for answer in (str(load(host, hostile({}, **config))), host.cli("pull", f"{registry.address}/odd").stderr):
        assert f"image configuration is not valid: {field}" in answer


def test_values_that_no_container_can_have(host: DaemonHost) -> None:
    for config, words in (({"ExposedPorts": {"x/y": {}}}, "invalid port"), ({"Env": ["=1"]}, "invalid environment"),
                          ({"StopSignal": "NOPE"}, "Invalid signal"), ({"WorkingDir": "rel"}, "absolute path"),
                          ({"User": "a" * 70_000}, "unable to find user aaa")):  # fmt: skip
        done = run(host, {}, **config)
        assert (done.returncode, words in done.stderr) == (125, True), done.stderr
    assert host.api("GET", "/containers/json?all=1")[0] == 200


TRICKS = {
    "dots": ({"../../../../../../canary-made": b"x"}, "canary-made"),
    "absolute": ({"/canary-made": b"x"}, "canary-made"),
    "through a link": ({"out": symlink("{tmp}"), "out/canary-made": b"x"}, "canary-made"),
    "link over a link": ({"a": symlink("{tmp}"), "b": symlink("a"), "b/canary-made": b"x"}, "canary-made"),
    "hardlink out": ({"h": hardlink("{tmp}/canary")}, "h"),
    "hardlink dots": ({"h": hardlink("../../../../../..{tmp}/canary")}, "h"),
    "whiteout out": ({"out": symlink("{tmp}"), "out/.wh.canary": b""}, "out"),
}


@pytest.mark.parametrize("way", ["load", "load of a layout", "pull"])
@pytest.mark.parametrize("trick", TRICKS)
def test_an_archive_stays_in_its_layer(
    host: DaemonHost, registry: ScriptedRegistry, canary: Path, trick: str, way: str
) -> None:
    def real(entry: Any) -> Any:
        if isinstance(entry, Entry) and entry.link:
            return Entry(mode=entry.mode, kind=entry.kind, link=entry.link.format(tmp=canary.parent))
        return entry

    one = image({name: real(entry) for name, entry in TRICKS[trick][0].items()})
    if way == "pull":
        registry.add("evil", one)
        host.cli("pull", f"{registry.address}/evil")
    else:
        data = docker_archive({"evil:1": one}) if way == "load" else oci_archive({"evil:1": one})
        host.api("POST", "/images/load", data, {"Content-Type": "application/x-tar"})
    assert host.run("find", "/", str(canary.parent), "-maxdepth", "1", "-name", "canary-made").stdout == ""


class _Zeros:
    """A tar with one file of zeros, compressed piece by piece: 10 GB are 10 MB."""

    def __new__(cls, size: int) -> bytes:  # type: ignore[misc]
        import zstandard  # noqa: PLC0415 - for this one test

        info = tarfile.TarInfo("zeros")
        info.size = size
        compressor, piece = zstandard.ZstdCompressor(level=1).compressobj(), bytes(16 << 20)
        parts = [compressor.compress(info.tobuf(tarfile.GNU_FORMAT))]
        parts += [compressor.compress(piece) for _ in range(size // len(piece))]
        return b"".join([*parts, compressor.compress(bytes(1024)), compressor.flush()])


def test_a_bomb(host: DaemonHost, registry: ScriptedRegistry) -> None:
    """10 GB of zeros against --max-unpacked-size; it is over long before they are unpacked."""
    bomb = replace_layer(image({"a": b"b"}, compression="zstd"), 0, _Zeros(10 << 30))
    registry.add("bomb", bomb)
    done = host.cli("pull", f"{registry.address}/bomb")
    assert (done.returncode, "--max-unpacked-size" in done.stderr) == (1, True)
    answer = host.api("POST", "/images/load", oci_archive({"bomb:1": bomb}), {"Content-Type": "application/x-tar"})[1]
    assert "--max-unpacked-size" in str(answer)
    used = host.run("du", "-sm", f"{host.state}/data").stdout.split()[0]
    assert int(used) < 2 * (LIMIT >> 20)


# ---- pulled


def pull(host: DaemonHost, name: str, *options: str) -> str:
    """What both commands say of a pull that fails."""
    said = []
    for command in (host.cli, host.docker):
        done = command("pull", *options, name)
        assert done.returncode == 1
        said.append(done.stderr.strip().splitlines()[-1])
    assert said[0].removeprefix("Error response from daemon: ") == said[1].removeprefix("Error response from daemon: ")
    return said[0]


def test_an_image_that_is_not_there(host: DaemonHost, registry: ScriptedRegistry) -> None:
    assert "manifest unknown" in pull(host, f"{registry.address}/nosuch")
    digest = "sha256:" + "0" * 64
    assert "manifest unknown" in pull(host, f"{registry.address}/nosuch@{digest}")


def test_another_platform(host: DaemonHost, registry: ScriptedRegistry) -> None:
    registry.add("arm", index(image({"a": b"1"}, platform="linux/arm64/v8")))
    assert "no matching manifest for linux/amd64" in pull(host, f"{registry.address}/arm")


def test_wrong_digests(host: DaemonHost, registry: ScriptedRegistry) -> None:
    one = image({"a": b"1" * 10_000})
    registry.add("wrong", one)
    registry.rule("/blobs/", altered(lambda data: bytes([data[0] ^ 1]) + data[1:]))
    assert "digest" in pull(host, f"{registry.address}/wrong")
    registry.add("other", image({"b": b"2"}))
    registry.manifests["other", one.digest] = registry.manifests["other", "latest"]
    assert "digest" in pull(host, f"{registry.address}/other@{one.digest}")


@pytest.mark.parametrize(
    "data",
    [b"", b"\x1f\x8b" + b"x" * 100, b"garbage" * 1000, image({"a": b"1" * 100_000}).layers[0].data[:100]],
    ids=["empty", "bad gzip", "garbage", "truncated"],
)
def test_corrupt_layers(host: DaemonHost, registry: ScriptedRegistry, data: bytes) -> None:
    registry.add("corrupt", replace_layer(image({"a": b"1"}), 0, data))
    assert pull(host, f"{registry.address}/corrupt")
    assert host.api("GET", f"/images/{registry.address}/corrupt/json")[0] == 404


def test_a_disconnect_is_resumed_and_one_for_ever_is_told(host: DaemonHost, registry: ScriptedRegistry) -> None:
    one = hostile({}, Cmd=["cat", "/etc/passwd"])
    registry.add("cut", one)
    layer: Blob = one.layers[0]
    registry.rule(layer.digest, cut(50_000), times=2)
    assert host.cli("run", "--rm", f"{registry.address}/cut").stdout == "root:x:0:0:root:/root:/bin/sh\n"
    assert any("range" in request.headers for request in registry.asked(layer.digest))
    registry.add("cut2", image({"a": hashlib.shake_128(b"x").digest(200_000)}))
    registry.rule("/cut2/blobs/", cut(0))
    done = host.docker("pull", f"{registry.address}/cut2")
    assert (done.returncode, len(done.stderr.strip().splitlines())) == (1, 1)
