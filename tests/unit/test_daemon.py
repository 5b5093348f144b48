"""The composition root, as far as it goes without a daemon: what can't run says so in one line."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from minirund.daemon import _tell_systemd, main
from minirund.options import DEFAULT_CONFIG


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--config-file", "/no/where"), "no such configuration file: /no/where"),
        (("--bridge", "a" * 20), "at most 15 characters"),
        (("--max-unpacked-size", "x"), "not a size"),
    ],
)
def test_one_line_and_exit_code_1(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    told = capsys.readouterr().err
    assert told.startswith("minirund: ") and message in told and told.count("\n") == 1


@pytest.mark.root
def test_who_is_not_root_is_told_at_once(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    script = "import os, sys; from minirund.daemon import main; os.setuid(65534); sys.exit(main(sys.argv[1:]))"
    words = ["--data-root", f"{tmp_path}/d", "--exec-root", f"{tmp_path}/e"]
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HOME": "/"},
    )
    assert (done.returncode, done.stderr) == (
        1,
        "minirund: minirund must run as root: it makes namespaces and mounts\n",
    )


def test_help_names_every_option_and_the_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    shown = capsys.readouterr().out
    assert ended.value.code == 0 and DEFAULT_CONFIG in shown
    assert all(
        name in shown for name in ("--host", "--data-root", "--exec-root", "--bip", "--registry-mirror", "--group")
    )


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"{tmp_path}/notify")
        monkeypatch.setenv("NOTIFY_SOCKET", f"{tmp_path}/notify")
        _tell_systemd("READY=1")
        assert listener.recv(100) == b"READY=1"
    _tell_systemd("READY=1")  # nobody listens: no error
    monkeypatch.delenv("NOTIFY_SOCKET")
    _tell_systemd("READY=1")
