"""Users, capabilities, seccomp, limits; and images that try to get out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import Runtime, TestBundle, make_bundle

from minirund import wire

CAPTURED = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
DOCKERS_14 = 0xA80425FB


def out(runtime: Runtime, bundle: TestBundle, script: str) -> str:
    result = runtime.sh(bundle, script)
    assert result.code == 0, result
    return result.stdout.decode().strip()


@pytest.mark.parametrize(
    ("user", "identity"),
    [
        ("", "0:0:0:/root"),
        ("user", "1000:1000:1000 29 44:/home/user"),
        ("1000", "1000:1000:1000 29 44:/home/user"),
        ("user:video", "1000:44:44:/home/user"),
        ("4711", "4711:0:0:/"),
        ("4711:4712", "4711:4712:4712:/"),
        ("daemon:daemon", "1:1:1:/usr/sbin"),
    ],
)
def test_username(runtime: Runtime, bundle: TestBundle, user: str, identity: str) -> None:
    bundle.config["process"]["user"] = {"username": user}
    assert out(runtime, bundle, "echo $(id -u):$(id -g):$(id -G):$HOME") == identity


def test_numbers_and_further_groups(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["user"] = {"uid": 5, "gid": 6, "additionalGids": [7], "groups": ["video", "99"]}
    assert out(runtime, bundle, "echo $(id -u):$(id -g):$(id -G)") == "5:6:6 7 44 99"


def test_a_plain_user_can_open_its_stdout_by_name(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["user"] = {"username": "user"}
    assert out(runtime, bundle, "echo hello > /dev/stdout") == "hello"


def capabilities(runtime: Runtime, bundle: TestBundle) -> dict[str, int]:
    text = out(runtime, bundle, "grep Cap /proc/self/status")
    return {name: int(value, 16) for name, value in (line.split(":\t") for line in text.splitlines())}


def test_docker_s_capabilities(runtime: Runtime, bundle: TestBundle) -> None:
    found = capabilities(runtime, bundle)
    assert found == dict(zip(CAPTURED, (0, DOCKERS_14, DOCKERS_14, DOCKERS_14, 0), strict=True))


def test_a_plain_user_has_none(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["user"] = {"uid": 1000}
    assert capabilities(runtime, bundle) == dict(zip(CAPTURED, (0, 0, 0, DOCKERS_14, 0), strict=True))


def test_a_plain_user_executes_nothing_with_the_rights_of_root(runtime: Runtime, bundle: TestBundle) -> None:
    for directory, mode, program_mode in (("closed", 0o700, 0o755), ("open", 0o755, 0o700)):
        program = bundle.upper / directory / "program"
        program.parent.mkdir(mode=mode)
        program.write_text("#!/bin/sh\n")
        program.chmod(program_mode)
        bundle.config["process"]["user"] = {"uid": 0}
        assert runtime.run(bundle, f"/{directory}/program").code == 0
        bundle.config["process"]["user"] = {"uid": 1000}
        assert runtime.run(bundle, f"/{directory}/program").code == 126
        bundle.config["process"]["env"] = [f"PATH=/{directory}"]
        assert runtime.run(bundle, "program").code == (127 if directory == "closed" else 126)


def test_ambient_capabilities_reach_a_plain_user(runtime: Runtime, bundle: TestBundle) -> None:
    net = ["CAP_NET_BIND_SERVICE"]
    bundle.config["process"]["user"] = {"uid": 1000}
    bundle.config["process"]["capabilities"] = dict.fromkeys(
        ("bounding", "effective", "permitted", "inheritable", "ambient"), net
    )
    assert set(capabilities(runtime, bundle).values()) == {1 << 10}


def test_no_new_privs(runtime: Runtime, bundle: TestBundle) -> None:
    assert out(runtime, bundle, "grep NoNewPrivs /proc/self/status") == "NoNewPrivs:\t0"
    bundle.config["process"]["noNewPrivileges"] = True
    assert out(runtime, bundle, "grep NoNewPrivs /proc/self/status") == "NoNewPrivs:\t1"


PROFILE = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
    "syscalls": [
        {"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO"},
        {  # umask(077), and nothing else of umask
            "names": ["umask"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 0o077, "valueTwo": 0o077, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    ],
}


@pytest.mark.parametrize("no_new_privs", [False, True])
@pytest.mark.parametrize("uid", [0, 1000])
def test_seccomp(runtime: Runtime, bundle: TestBundle, no_new_privs: bool, uid: int) -> None:
    bundle.config["linux"]["seccomp"] = PROFILE
    bundle.config["process"].update(noNewPrivileges=no_new_privs, user={"uid": uid})
    result = runtime.sh(bundle, "grep Seccomp: /proc/self/status; mkdir /tmp/x; hostname x; umask 007; umask")
    assert result.stdout.split() == [b"Seccomp:", b"2", b"0007"]
    assert b"Function not implemented" in result.stderr
    assert b"hostname: sethostname: Operation not permitted" in result.stderr


TOO_LONG = """
import struct
from minirund.errors import StepFailed
from minirund.runtime import syscalls
allow = struct.pack("=HBBI", 0x06, 0, 0, 0x7FFF0000)
try:
    syscalls.load_seccomp(allow * (65536 + 1))
except StepFailed as error:
    print(error)
"""


def test_a_filter_of_too_many_instructions_is_not_cut_off() -> None:
    done = subprocess.run([sys.executable, "-c", TOO_LONG], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("load the seccomp profile: invalid argument\n", "")


def test_rlimits_and_oom_score(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"].update(
        rlimits=[{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}, {"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        oomScoreAdj=500,
    )
    assert out(runtime, bundle, "ulimit -Sn; ulimit -Hn; ulimit -c; cat /proc/self/oom_score_adj").split() == [
        *("100", "200", "0", "500")
    ]


def test_an_oom_score_that_is_no_whole_number_is_refused(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["process"]["oomScoreAdj"] = 5.5
    failed = runtime.run(bundle, "/bin/true").failed
    assert failed and "set oom_score_adj to 5.5" in failed.message


# --- images that try to get out --------------------------------------------------------------------------------------


def hostile(tmp_path: Path, lower: Path, **links: str) -> TestBundle:
    """A bundle whose image has links where directories belong."""
    root = tmp_path / "hostile"
    shutil.copytree(lower, root, symlinks=True)
    for name, target in links.items():
        path = root / name.replace("__", "/")
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.symlink_to(target)
    return make_bundle(tmp_path, root)


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/", "/tmp", "../../../../tmp"])
def test_proc_and_sys_are_not_mounted_through_a_link(
    runtime: Runtime, tmp_path: Path, lower: Path, name: str, target: str
) -> None:
    failed = runtime.run(hostile(tmp_path, lower, **{name: target}), "true").failed
    assert failed is not None
    assert "must be mounted on" in failed.message
    assert failed.exit_code == 125


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "/proc/1/root/etc", "nowhere"])
def test_dev_that_is_a_link_stays_inside(runtime: Runtime, tmp_path: Path, lower: Path, target: str) -> None:
    before = sorted(os.listdir("/etc"))
    runtime.sh(hostile(tmp_path, lower, dev=target), "ls /dev")
    assert sorted(os.listdir("/etc")) == before


def test_bind_destinations_stay_inside(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    bundle = hostile(tmp_path, lower, etc="/", link="../../../../../..", away=str(tmp_path))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/mark").write_text("here\n")
    names = ("/etc/volume", "/link/other", "/away/third", "/new/../../../../fourth")
    for name in names:
        mount = {"type": "bind", "source": str(tmp_path / "source"), "destination": name, "options": ["bind"]}
        bundle.config["mounts"].append(mount)
    result = runtime.sh(bundle, f"cat /volume/mark /other/mark {tmp_path}/third/mark /fourth/mark")
    assert result.stdout == b"here\n" * 4, result
    for name in ("/volume", "/other", "/fourth", str(tmp_path / "third")):
        assert not os.path.exists(name)


def test_a_file_over_a_dangling_link_is_made_inside(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    bundle = hostile(tmp_path, lower, etc__resolv="../run/deep/resolv", etc__loop="loop")
    (tmp_path / "source").write_text("here\n")
    mount = {"type": "bind", "source": str(tmp_path / "source"), "destination": "/etc/resolv", "options": ["bind"]}
    bundle.config["mounts"].append(mount)
    assert out(runtime, bundle, "cat /etc/resolv /run/deep/resolv") == "here\nhere"
    bundle.config["mounts"][-1]["destination"] = "/etc/loop"
    failed = runtime.run(bundle, "true").failed
    assert failed is not None
    assert failed.path == "/etc/loop"


def test_passwd_that_is_a_link_out_or_no_file(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    bundle = hostile(tmp_path, lower)
    passwd = bundle.upper / "etc/passwd"
    passwd.parent.mkdir()
    passwd.symlink_to("../../../../../../etc/hostname")
    bundle.config["process"]["user"] = {"username": "user"}
    assert runtime.run(bundle, "true").code == 125
    passwd.unlink()
    os.mkfifo(passwd)
    assert runtime.run(bundle, "true").code == 125


def test_cwd_cannot_be_a_descriptor_of_the_host(runtime: Runtime, bundle: TestBundle) -> None:
    for number in range(3, 40):
        bundle.config["process"]["cwd"] = f"/proc/self/fd/{number}"
        result = runtime.sh(bundle, "pwd; ls -d ../../../../etc/hostname")
        assert result.code != 0 or b"hostname" not in result.stdout


def test_image_with_a_device_node_in_place_of_null(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    bundle = hostile(tmp_path, lower)
    bundle.config["mounts"] = [each for each in bundle.config["mounts"] if not each["destination"].startswith("/dev")]
    (bundle.upper / "dev").mkdir()
    (bundle.upper / "dev/null").write_text("not the null device")
    failed = runtime.run(bundle, "true").failed
    assert failed is not None
    assert failed.path == "/dev/null"


def test_the_interpreter_cannot_be_written_to(runtime: Runtime, tmp_path: Path, lower: Path) -> None:
    """CVE-2019-5736: the entrypoint is the runtime's own binary, with the container's libraries."""
    root = tmp_path / "image"
    shutil.copytree(lower, root, symlinks=True)
    interpreter = os.path.realpath(sys.executable)
    needed = subprocess.run(["ldd", interpreter], check=True, capture_output=True, text=True).stdout
    for word in (word for word in needed.split() if word.startswith("/")):
        (root / word.lstrip("/")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(word, root / word.lstrip("/"))
    left_out = shutil.ignore_patterns("test", "__pycache__", "*-packages")
    stdlib = os.path.dirname(os.__file__)
    shutil.copytree(stdlib, root / stdlib.lstrip("/"), ignore=left_out)
    attack = (
        "import os, errno\n"
        "fd = os.open('/proc/self/exe', os.O_PATH)\n"
        "for path in ('/proc/self/exe', f'/proc/self/fd/{fd}'):\n"
        "    for flags in (os.O_WRONLY, os.O_RDWR | os.O_TRUNC):\n"
        "        try: os.open(path, flags); print('WRITABLE')\n"
        "        except OSError as error: print(errno.errorcode[error.errno])\n"
    )
    bundle = make_bundle(tmp_path, root)
    result = runtime.run(bundle, "/proc/self/exe", "-I", "-S", "-c", attack)
    assert result.code == 0, result
    assert {b"EROFS"} <= set(result.stdout.split()) <= {b"EROFS", b"ETXTBSY"}, result  # O_TRUNC asks the mount first
    script = bundle.upper / "run.py"
    script.write_text("#!/proc/self/exe\n" + attack)
    script.chmod(0o755)
    result = runtime.run(bundle, "/run.py")
    assert b"WRITABLE" not in result.stdout, result
    assert os.access(interpreter, os.R_OK)


def test_an_exec_cannot_be_looked_into(runtime: Runtime, bundle: TestBundle) -> None:
    """A process of the container looks at every new process: before its execve there is nothing to be had from it."""
    watch = (
        "while :; do for p in /proc/[0-9]*; do case $(readlink $p/exe 2>/dev/null) in"
        " *python*) echo LEAK $p;; esac; done; done"
    )
    container = runtime.launch(bundle, "/bin/sh", "-c", watch)
    container.started()
    for number in range(10):
        container.exec("true", exec_id=str(number))
        assert container.until(wire.ExecExited, wire.ExecFailed) == wire.ExecExited(str(number), 0)
    assert container.kill() == 137
    assert b"LEAK" not in bundle.logged()
