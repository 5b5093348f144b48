"""The units, the Makefile and the scripts agree with each other and with what the documentation promises."""

from __future__ import annotations

import configparser
import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TARGETS = (
    "setup",
    "run",
    "stop",
    "test",
    "lint",
    "bench",
    "vm-test",
    "vm-soak",
    "vm-shell",
    "install",
    "uninstall",
    "clean",
    "help",
)


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "packaging" / name)
    return parser


def test_containers_survive_a_stop_of_the_service() -> None:
    service = unit("minirund.service")["Service"]
    assert service["KillMode"] == "process"
    assert service["Delegate"] == "yes"
    assert service["Restart"] == "always"


def test_the_socket_is_where_the_command_looks_and_only_the_group_may_write() -> None:
    socket = unit("minirund.socket")["Socket"]
    assert socket["ListenStream"] == "/run/minirund.sock"
    assert (socket["SocketMode"], socket["SocketUser"], socket["SocketGroup"]) == ("0660", "root", "minirun")
    assert unit("minirund.service")["Service"]["ExecStart"].endswith("minirund -H fd://")


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_and_explains_the_target(target: str) -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert re.search(rf"^  make {target} +\w", shown, re.MULTILINE)
    subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_ci_runs_make_test() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text()


def test_install_and_uninstall_leave_a_destination_as_it_was(tmp_path: Path) -> None:
    """With a DESTDIR, on a tree that looks installed: building it takes the network, taking it away does not."""
    kept = tmp_path / "etc" / "systemd" / "system" / "other.service"
    kept.parent.mkdir(parents=True)
    kept.write_text("")
    program = tmp_path / "opt" / "minirund"
    (program / "bin").mkdir(parents=True)
    (program / "pyvenv.cfg").write_text("")
    for name in ("minirund.service", "minirund.socket"):
        (kept.parent / name).write_text("")
    (tmp_path / "usr/local/bin").mkdir(parents=True)
    (tmp_path / "usr/local/bin/minirun").symlink_to("/opt/minirund/bin/minirun")
    subprocess.run(["make", "uninstall", f"DESTDIR={tmp_path}"], cwd=ROOT, check=True, capture_output=True)
    assert [path.relative_to(tmp_path) for path in tmp_path.rglob("*") if not path.is_dir()] == [
        Path("etc/systemd/system/other.service")
    ]
    assert not program.exists()


def test_uninstall_spares_a_directory_that_is_no_installation(tmp_path: Path) -> None:
    (tmp_path / "opt" / "minirund").mkdir(parents=True)
    (tmp_path / "opt" / "minirund" / "mine").write_text("precious")
    subprocess.run(["make", "uninstall", f"DESTDIR={tmp_path}"], cwd=ROOT, check=True, capture_output=True)
    assert (tmp_path / "opt" / "minirund" / "mine").read_text() == "precious"


def test_packages_are_asked_for_by_purpose() -> None:
    shown = subprocess.run([ROOT / "scripts/install-packages", "nonsense"], check=False, capture_output=True, text=True)
    assert shown.returncode == 2
    assert shown.stderr == "install-packages: no such purpose: nonsense (run, test, bench, vm, vagrant)\n"


def test_both_commands_are_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"minirund": "minirund.daemon:main", "minirun": "minirund.cli:main"}
