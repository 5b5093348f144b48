"""The command as a user meets it without a daemon: usage, exit codes, errors, imports, completion in real shells."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from base64 import b64encode, urlsafe_b64decode
from json import dumps, loads
from pathlib import Path

import pytest

from minirund import __version__, cli
from minirund.cli.auth import registry_auth
from minirund.cli.completion import candidates
from minirund.cli.context import Context
from minirund.cli.run import start_code
from minirund.client import ApiError, BrokenConnectionError, ConnectError

MINIRUN = [sys.executable, "-c", "from minirund.cli import main; main()"]


def minirun(*words: str, host: str = "unix:///nonexistent/minirund.sock") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MINIRUN, *words],
        env={**os.environ, "MINIRUN_HOST": host},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run"], 125, "\"minirun run\" requires at least 1 argument\nSee 'minirun run --help'."),
        (["container", "run", "--foo"], 125, "unknown flag: --foo\nSee 'minirun container run --help'."),
        (["ps", "-x"], 1, "unknown shorthand flag: 'x' in -x\nSee 'minirun ps --help'."),
        (["ps", "x"], 1, "\"minirun ps\" accepts no arguments\nSee 'minirun ps --help'."),
        (["build", "."], 1, "build is not offered yet\nSee 'minirun --help'."),
        (["image", "push", "x"], 1, "image push is not offered yet\nSee 'minirun image --help'."),
        (["foo"], 1, "unknown command: minirun foo\nSee 'minirun --help'."),
        (["image", "foo"], 1, "unknown command: minirun image foo\nSee 'minirun image --help'."),
        (["--foo"], 1, "unknown flag: --foo\nSee 'minirun --help'."),
        (["run", "-e", "=x", "busybox"], 125, "invalid environment variable: =x\nSee 'minirun run --help'."),
        (["run", "-it", "busybox"], 1, "the input device is not a TTY\nSee 'minirun run --help'."),
    ],
)
def test_wrong_usage(words: list[str], code: int, message: str) -> None:
    done = minirun(*words)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", f"minirun: {message}\n")


@pytest.mark.parametrize("words", [["run"], ["container"], ["image", "ls"]])
def test_help_of_a_command_is_its_own(words: list[str]) -> None:
    assert minirun("help", *words).stdout == minirun(*words, "--help").stdout != minirun("help").stdout
    refused = minirun("help", "nope")
    assert (refused.returncode, refused.stderr) == (
        1,
        "minirun: unknown command: minirun nope\nSee 'minirun --help'.\n",
    )


@pytest.mark.parametrize(
    "words", [[], ["--help"], ["help"], ["-h"], ["run", "--help"], ["container"], ["image", "ls", "-h"]]
)
def test_help(words: list[str]) -> None:
    done = minirun(*words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Usage:  minirun")


def test_version() -> None:
    assert minirun("--version").stdout == minirun("-v").stdout == f"minirun version {__version__}\n"


def test_version_shows_the_command_s_own_when_the_daemon_is_away() -> None:
    done = minirun("version")
    assert done.returncode == 1
    assert f"\n Version:           {__version__}\n" in done.stdout
    assert done.stderr.startswith("Cannot connect to the minirund daemon at unix:///nonexistent/minirund.sock")


@pytest.mark.parametrize(("words", "code"), [(["ps"], 1), (["run", "busybox"], 125), (["-H", "unix:///nope", "ps"], 1)])
def test_no_daemon_is_one_line_that_names_socket_and_way_out(words: list[str], code: int) -> None:
    done = minirun(*words)
    assert done.returncode == code
    first = done.stderr.splitlines()[0]
    assert "unix:///nope" in first if "-H" in words else "unix:///nonexistent/minirund.sock" in first
    assert "No such file or directory" in first
    assert "systemctl start minirund" in first
    assert "-H" in first


def test_an_address_that_is_no_unix_socket() -> None:
    done = minirun("ps", host="tcp://127.0.0.1:2375")
    assert (done.returncode, done.stderr) == (
        1,
        "unable to parse host 'tcp://127.0.0.1:2375': only unix:///PATH is understood\n",
    )


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectError("/run/x.sock", errno.EACCES), "Permission denied on /run/x.sock: join the group minirun"),
        (ApiError(404, "No such container: x"), "Error response from daemon: No such container: x"),
        (BrokenConnectionError("it broke"), "Lost the minirund daemon at unix:///x: it broke"),
    ],
)
def test_what_the_daemon_says_in_words(error: Exception, words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._report(Context("unix:///x", "ps"), error) == 1
    assert capsys.readouterr().err.startswith(words)


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('exec: "nosuch": executable file not found in $PATH', 127),
        ('exec: "/bin/foo": No such file or directory', 127),
        ('exec: "/etc/passwd": permission denied', 126),
        ('exec: "/etc": Is a directory', 126),
        ('exec: "/x": Exec format error', 126),
        ("no space left on device", 125),
    ],
)
def test_codes_of_a_start_that_failed(message: str, code: int) -> None:
    assert start_code(message) == code


def test_a_closed_pipe_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*MINIRUN, "--help"], stdout=writing, stderr=subprocess.PIPE, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (-13, b"")


def test_the_command_starts_without_the_modules_that_are_slow_to_import() -> None:
    program = "import sys; from minirund.cli import run; run(sys.argv[1:]); print(*sys.modules)"
    words = [
        [sys.executable, "-I", "-c", program, *words.split()] for words in ("ps", "run busybox", "version", "exec x y")
    ]
    for command in words:
        env = {**os.environ, "MINIRUN_HOST": "unix:///nonexistent"}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
        loaded = set(done.stdout.split())
        slow = {
            "argparse",
            "json",
            "re",
            "socket",
            "signal",
            "enum",
            "typing",
            "dataclasses",
            "http.client",
            "datetime",
        }
        assert not loaded & slow, f"{command[-2:]}: {loaded & slow}"
        assert not any(name.split(".")[0] in ("asyncio", "pydantic", "fastapi") for name in loaded)


# --- completion


def complete(*words: str) -> list[str]:
    return [candidate.partition("\t")[0] for candidate in candidates(Context("unix:///nonexistent"), words)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ru"], ["run"]),
        (["container", "l"], ["logs", "ls", "list"]),
        (["completion", ""], ["bash", "zsh"]),
        (["run", "--pull", ""], ["always", "missing", "never"]),
        (["run", "--pull=n"], ["--pull=never"]),
        (["run", "--cap-"], ["--cap-add", "--cap-drop"]),
        (["-H", "unix:///x", "container", "run", "--cap-a"], ["--cap-add"]),
        (["run", "--env-file", ""], [":files"]),
        (["run", "-it", "busybox", ""], [":files"]),
        (["exec", "web", ""], []),
        (["--"], ["--host", "--version", "--help"]),
        (["nosuch", ""], []),
        (["load", "-i", ""], [":files"]),
    ],
)
def test_candidates(words: list[str], expected: list[str]) -> None:
    assert complete(*words) == expected


def test_completion_is_silent_without_a_daemon() -> None:
    done = minirun("__complete", "rm", "")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.fixture
def shell_path(tmp_path: Path) -> str:
    """A PATH on which `minirun` is this interpreter's."""
    script = tmp_path / "minirun"
    script.write_text(f"#!/bin/sh\nexec {sys.executable} -c 'from minirund.cli import main; main()' \"$@\"\n")
    script.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("line", "replies"),
    [
        ("minirun sto", "stop"),
        ("minirun container unp", "unpause"),
        ("minirun run --pull=al", "always"),
        ("minirun run --pull al", "always"),
        ("minirun run --network=br", "bridge"),
    ],
)
def test_bash_completes(line: str, replies: str, shell_path: str) -> None:
    program = f"""
        source <(minirun completion bash)
        COMP_LINE={line!r}; COMP_POINT=${{#COMP_LINE}}; COMP_WORDBREAKS=$' \\t\\n"\\'><=;|&(:'
        _minirun 2>/dev/null
        echo "${{COMPREPLY[*]}}"
    """
    done = subprocess.run(
        ["bash", "-c", program], env={**os.environ, "PATH": shell_path}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{replies}\n"


@pytest.mark.skipif(not shutil.which("zsh"), reason="zsh is not installed")
def test_zsh_reads_the_script_and_asks_for_candidates(shell_path: str) -> None:
    program = """
        autoload -U compinit; compinit -u -D
        source <(minirun completion zsh)
        [[ $_comps[minirun] == _minirun ]] || exit 3
        _describe() { print -l -- "${(@P)3}"; }
        words=(minirun container unp); CURRENT=3
        _minirun
    """
    done = subprocess.run(
        ["zsh", "-f", "-c", program],
        env={**os.environ, "PATH": shell_path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "unpause:Thaw all processes of one or more containers\n"), done.stderr


# --- credentials


def test_credentials_of_the_registry_that_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = b64encode(b"user:pass:word").decode()
    auths = {
        "r.example:5000": {"auth": secret},
        "https://index.docker.io/v1/": {"identitytoken": "t"},
        "bad": {"auth": "%"},
    }
    (tmp_path / "config.json").write_text(dumps({"auths": auths}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)

    def sent(repository: str) -> object:
        header = registry_auth(repository).get("X-Registry-Auth")
        return loads(urlsafe_b64decode(header)) if header else None

    assert sent("r.example:5000/a/b") == {
        "username": "user",
        "password": "pass:word",
        "serveraddress": "r.example:5000",
    }
    assert sent("alpine") == {"identitytoken": "t", "serveraddress": "docker.io"}
    assert sent("other.example/a") is None


def test_a_missing_or_broken_file_holds_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    assert registry_auth("alpine") == {}
    (tmp_path / "config.json").write_text("{")
    assert registry_auth("alpine") == {}
