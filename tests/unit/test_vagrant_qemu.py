"""What the machine under QEMU is made of and says, as far as it needs no machine: vagrant/qemu."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from qemu import disk, report, scenes
from qemu.__main__ import main
from qemu.disk import Disk
from qemu.machine import command, watched
from qemu.monitor import Monitor
from qemu.stale import LOOKS, SAME, Looks, rewrite, running
from qemu.terminal import talk
from waiting import until

ROOT = Path(__file__).parents[2]
JUNIT = """<?xml version="1.0"?><testsuites><testsuite>
<testcase classname="tests.vm.test_one" name="a" time="1.5"/>
<testcase classname="tests.vm.test_two" name="b" time="2.5"><failure/></testcase>
<testcase classname="tests.vm.test_one" name="c" time="3.0"><failure/></testcase>
<testcase classname="tests.vm.test_one" name="c" time="0.5"><error/></testcase>
<testcase classname="tests.vm.test_two" name="d" time="0.0"><skipped/></testcase>
<testcase classname="" name="tests.vm.test_three" time="0.1"><error/></testcase>
</testsuite></testsuites>"""


def test_a_report_has_a_part_for_each_file(tmp_path: Path) -> None:
    (tmp_path / "vm.xml").write_text(JUNIT)
    assert report.read(tmp_path / "vm.xml") == [
        report.Part("test_one", 1, 2, 0, 5.0),
        report.Part("test_two", 0, 1, 1, 2.5),
        report.Part("test_three", 0, 1, 0, 0.1),
    ]
    (whole,) = report.read(tmp_path / "vm.xml", "after the cut")
    assert whole == report.Part("after the cut", 1, 4, 1, pytest.approx(7.6))


def test_a_person_at_a_terminal() -> None:
    asks = "import sys; print(sys.stdin.isatty(), int(input('first? ')) + int(input('second? '))); sys.exit(3)"
    code, shown = talk([sys.executable, "-c", asks], [("first? ", "40"), ("second? ", "2")])
    assert (code, shown.splitlines()[-1]) == (3, "True 42")


@pytest.mark.parametrize("program", ["import time; time.sleep(100)", "input()"])
def test_who_does_not_answer_or_end_is_killed(program: str) -> None:
    assert talk([sys.executable, "-c", program], [("never shown", "x")], patience=0.2)[0] < 0


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


def test_only_an_emulated_machine_is_watched(tmp_path: Path) -> None:
    assert "-gdb" in command(Disk(tmp_path), tmp_path, "tcg")
    assert "-gdb" not in command(Disk(tmp_path), tmp_path, "kvm")


def test_only_an_emulated_machine_is_spared_work(tmp_path: Path) -> None:
    emulated, accelerated = ("\0".join(command(Disk(tmp_path), tmp_path, name)) for name in ("tcg", "kvm"))
    assert "max,-erms" in emulated
    assert " norandmaps" in emulated
    assert "erms" not in accelerated
    assert "norandmaps" not in accelerated


def test_where_a_kernel_runs() -> None:
    """One processor in the kernel, one halted in it, one in a program."""
    places = ("ffffffff810e1a37", 0), ("ffffffff81a0717e", 1), ("00007f0d4c28fcf5", 0)
    shown = "".join(
        f"CPU#{number}\nRSP=ffffffff00000000\nRIP={rip} RFL=00000046 [---Z-P-] CPL=0 II=0 A20=1 SMM=0 HLT={halted}\n"
        for number, (rip, halted) in enumerate(places)
    )
    assert running(shown) == [0xFFFFFFFF810E1A37, None, None]


def test_a_place_that_is_not_left() -> None:
    """A processor that takes the same breakpoint again and again is seen at it or in what the breakpoint calls."""
    looks, place = Looks(), 0xFFFFFFFF810E1A37
    seen = [looks.add([None, at]) for at in (place, 1, place, 2, place, place)]
    assert seen == [set()] * 4 + [{place}, set()]


def test_who_moves_or_rests_is_left_alone() -> None:
    looks, place = Looks(), 0xFFFFFFFF810E1A37
    assert not any(looks.add([place + at, None]) for at in range(50))
    rarely = [place] + [None] * (LOOKS // (SAME - 1))
    assert not any(looks.add([at, None]) for at in rarely * 10)


@pytest.fixture
def firmware(tmp_path: Path) -> Iterator[Path]:
    """A machine without a disk, whose BIOS finds nothing to start and waits; the directory with its sockets."""
    if not shutil.which("qemu-system-x86_64"):
        pytest.skip("there is no QEMU")
    words = ["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-user-config", "-accel", "tcg", "-m", "64"]
    with subprocess.Popen([*words, *watched(tmp_path)]) as qemu:
        until((tmp_path / "gdb").exists)
        yield tmp_path
        qemu.kill()


def test_what_is_rewritten_is_translated_anew(firmware: Path) -> None:
    """The machine runs on, with the bytes that it had."""
    with Monitor(firmware / "watch", 20) as monitor:
        until(lambda: "HLT=1" in monitor.human("info registers -a"))
        registers = monitor.human("info registers -a")
        base, rip = re.search(r"CS =\w+ (\w+)", registers), re.search(r"[ER]IP=(\w+)", registers)
        assert base
        assert rip
        place = int(base[1], 16) + int(rip[1], 16)
        before = monitor.human(f"xp/16xb {place:#x}"), forgotten(monitor)

        def once_more() -> bool:
            rewrite(firmware / "gdb", place)
            return forgotten(monitor) > before[1]

        until(once_more, "nothing was thrown away", pause=0.2)
        assert monitor.ask("query-status")["status"] == "running"
        assert monitor.human(f"xp/16xb {place:#x}") == before[0]


def forgotten(monitor: Monitor) -> int:
    """How many translations QEMU has thrown away."""
    found = re.search(r"TB invalidate count\s+(\d+)", monitor.human("info jit"))
    assert found
    return int(found[1])


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
    until(lambda: not Path(f"/proc/{first}").exists(), "it lives on")
    assert not os.path.ismount(tmp_path)
