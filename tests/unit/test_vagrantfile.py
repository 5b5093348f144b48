"""The Vagrantfile, as Vagrant itself reads it: valid, with two machines, each for both providers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed")


def vagrant(home: Path, *words: str, directory: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"VAGRANT_HOME": str(home / "home"), "VAGRANT_DOTFILE_PATH": str(home / "state")}
    env = os.environ | own | {"VAGRANT_CHECKPOINT_DISABLE": "1"} | environment
    return subprocess.run(["vagrant", *words], check=False, capture_output=True, text=True, cwd=directory, env=env)


def test_vagrant_finds_it_valid(tmp_path: Path) -> None:
    shown = vagrant(tmp_path, "validate", VAGRANT_DEFAULT_PROVIDER="libvirt")
    assert shown.stdout == "Vagrantfile validated successfully.\n", shown.stderr


def test_a_setting_that_does_not_exist_would_be_noticed(tmp_path: Path) -> None:
    text = (ROOT / "Vagrantfile").read_text()
    (tmp_path / "Vagrantfile").write_text(text.replace("node.vm.hostname", "node.vm.hostnome"))
    shown = vagrant(tmp_path, "validate", directory=tmp_path, VAGRANT_DEFAULT_PROVIDER="libvirt")
    assert shown.returncode == 1
    assert "hostnome" in shown.stdout + shown.stderr


def test_there_are_two_debians(tmp_path: Path) -> None:
    shown = vagrant(tmp_path, "status", "--machine-readable", VAGRANT_DEFAULT_PROVIDER="libvirt").stdout
    assert {line.split(",")[1] for line in shown.splitlines() if ",state," in line} == {"debian12", "debian13"}


def test_the_scripts_that_it_names_are_there_and_can_be_run() -> None:
    for name in ("vagrant/provision.sh", "vagrant/test.sh"):
        assert f"/vagrant/{name}" in (ROOT / "Vagrantfile").read_text()
        assert os.access(ROOT / name, os.X_OK)
