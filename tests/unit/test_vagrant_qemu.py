"""What the machine under QEMU is made of and says, as far as it needs no machine: vagrant/qemu."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from qemu import disk, report, scenes
from qemu.__main__ import main
from qemu.disk import Disk
from qemu.machine import command

ROOT = Path(__file__).parents[2]
JUNIT = """<?xml version="1.0"?><testsuites>
<testsuite name="pytest" errors="1" failures="2" skipped="3" tests="10" time="12.5"/></testsuites>"""


def test_a_report_is_counted(tmp_path: Path) -> None:
    (tmp_path / "test_one.xml").write_text(JUNIT)
    assert report.read(tmp_path / "test_one.xml") == report.Part("test_one", 4, 3, 3, 12.5)
    assert report.read(tmp_path / "test_one.xml", "after the cut").name == "after the cut"


def test_the_table_ends_with_a_sum() -> None:
    shown = report.table([report.Part("boot", 0, 0, 0, 20.4), report.Part("limits", 16, 1, 2, 60.2)]).splitlines()
    assert shown[0].split() == ["part", "passed", "failed", "skipped", "seconds"]
    assert shown[2].split() == ["limits", "16", "1", "2", "60"]
    assert shown[-1].split() == ["together", "16", "1", "2", "81"]
    assert len({len(line) for line in shown}) == 1


def test_the_last_lines_of_a_journal(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("one\ntwo\nthree\n")
    assert report.last_lines(tmp_path / "journal", 2) == "two\nthree"
    assert report.last_lines(tmp_path / "none") == ""


def test_a_digest_tells_other_contents_apart() -> None:
    assert disk.digest("a", "b") != disk.digest("ab")
    assert disk.digest("a", "b") == disk.digest("a", "b")


def test_what_the_disk_depends_on_is_there() -> None:
    assert [name for name in disk.INPUTS if not (ROOT / name).is_file()] == []


def test_the_drive_is_honest_and_nobody_else_can_reach_the_machine(tmp_path: Path) -> None:
    """What the machine has flushed must be in the overlay, so nothing that ignores flushes: no cache=unsafe."""
    words = command(Disk(tmp_path), tmp_path, "tcg")
    (drive,) = [word for word in words if word.startswith("file=")]
    assert "cache=writeback" in drive
    (network,) = [word for word in words if word.startswith("user,")]
    assert "hostfwd=tcp:127.0.0.1:0-:22" in network


def test_the_tree_that_goes_in_is_git_s_and_what_is_new(tmp_path: Path) -> None:
    disk.copy_tree(tmp_path / "tree")
    assert (tmp_path / "tree/pyproject.toml").is_file()
    assert not (tmp_path / "tree/.venv").exists()
    assert not (tmp_path / "tree/.git").exists()


def test_every_scene_has_its_file() -> None:
    text = Path(scenes.__file__).read_text()
    names = {path.stem for path in (ROOT / scenes.BOOTS).glob("*.py")} - {"load"}
    assert names
    assert [name for name in names if f'"{name}"' not in text] == []


def test_who_asks_for_nothing_is_told_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "python -m qemu test" in capsys.readouterr().err


def test_what_is_missing_is_said_in_one_line() -> None:
    """Without root, and with a PATH on which there is no QEMU."""
    environment = {"PYTHONPATH": "vagrant", "PATH": "/nowhere"}
    ended = subprocess.run(
        [sys.executable, "-m", "qemu", "test"], check=False, capture_output=True, text=True, cwd=ROOT, env=environment
    )
    assert ended.returncode == 3
    assert ended.stdout.startswith("== the machine under QEMU is left out: ")
    assert ended.stdout.count("\n") == 1


@pytest.mark.root
def test_a_place_ends_with_who_made_it_even_by_sigkill(tmp_path: Path) -> None:
    """What lives in the place: process 1 there, which says so, and a child of it that would sleep for long."""
    inside = "subprocess.Popen(['sleep', '600']); os.write(1, b'here\\n'); time.sleep(600)"
    program = f"import os, subprocess, time; from qemu.place import hidden; from pathlib import Path\ndef main():\n {inside}\nhidden(Path({str(tmp_path)!r}), main)"  # noqa: E501
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(ROOT / "vagrant")}
    ) as place:
        assert place.stdout
        assert place.stdout.readline() == b"here\n"
        own = os.readlink("/proc/self/ns/pid")
        (first,) = Path(f"/proc/{place.pid}/task/{place.pid}/children").read_text().split()
        assert os.readlink(f"/proc/{first}/ns/pid") != own
        place.send_signal(signal.SIGKILL)
        assert place.stdout.read() == b""  # the end of the pipe: the sleeper had it, too
    deadline = time.monotonic() + 20
    while Path(f"/proc/{first}").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(f"/proc/{first}").exists()
    assert not os.path.ismount(tmp_path)
