"""`make vm-test`, `make vm-soak`, `make vm-shell`: a whole Linux machine, from nothing to its report.

    python -m qemu test [FILE ...]    install, all tests, a reboot, three power cuts, uninstall; or some files alone
    python -m qemu soak [TIMES]       power cuts, twenty if nothing else is said
    python -m qemu shell              a shell in a machine with minirund

Exit code: 0, or 1 if something failed, or 3 if the machine can't be had here, which one line then says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from qemu import disk, report
from qemu.disk import CACHE, say
from qemu.machine import Machine, MachineFailed
from qemu.place import Refused, hidden
from qemu.scenes import REPORTS, Run

CUTS, SOAK_CUTS = 3, 20
DISK_GB, MEMORY_GB = 6, 5
"""What building a disk and running a machine take at most."""
PROGRAMS = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "ssh", "ssh-keygen", "git")
LEFT_OUT = 3


def main(words: list[str]) -> int:
    """Do what the words of the command line say; its exit code."""
    task, rest = (words[0], words[1:]) if words else ("", [])
    tasks: dict[str, Callable[[Run], None]] = {
        "test": lambda run: test(run, rest),
        "soak": lambda run: soak(run, int(rest[0]) if rest else SOAK_CUTS),
        "shell": shell,
    }
    if task not in tasks:
        print((__doc__ or "").strip(), file=sys.stderr)
        return 2
    try:
        check_host()
        work = CACHE / "run"
        work.mkdir(parents=True, exist_ok=True)
        return hidden(work, lambda: perform(tasks[task], work, reporting=task != "shell"))
    except Refused as refused:
        print(f"== the machine under QEMU is left out: {refused}")
        return LEFT_OUT


def check_host() -> None:
    """Raises Refused, with the reason, where a machine can't be had."""
    if os.geteuid() != 0:
        raise Refused("it takes root")
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing:
        raise Refused(f"{', '.join(missing)} can't be found: scripts/install-packages vm")
    CACHE.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(CACHE).free >> 30
    if free < DISK_GB and not any(CACHE.glob("*/disk.qcow2")):
        raise Refused(f"{CACHE} has {free} GB of space, and {DISK_GB} are needed")
    available = memory_available() >> 20
    if available < MEMORY_GB:
        raise Refused(f"{available} GB of memory are free, and {MEMORY_GB} are needed")


def memory_available() -> int:
    """KiB that can be had without swapping, as the kernel estimates."""
    lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return int(lines["MemAvailable"].split()[0])


def perform(task: Callable[[Run], None], work: Path, *, reporting: bool) -> int:
    """Start a machine, do the task, bring the reports out, end the machine; the exit code."""
    started = time.monotonic()
    with Machine(disk.cached(work), work) as machine:
        run = Run(machine, work)
        try:
            run.start()
            task(run)
            if reporting:
                run.collect()
                with run.step("power off"):
                    machine.power_off()
        except MachineFailed as failed:
            print(failed, flush=True)
            run.collect()
    if reporting:
        show(run, time.monotonic() - started)
    return 1 if run.failed else 0


def show(run: Run, seconds: float) -> None:
    """The report, at the end of everything else."""
    name = "KVM" if run.machine.accelerator == "kvm" else "emulation"
    say(f"the whole machine, under QEMU's {name}: {'FAILED' if run.failed else 'passed'} in {seconds:.0f} s")
    print(report.table(run.parts))
    if run.failed:
        print(f"the last of its journal (all of it: {REPORTS}/journal.txt, the console: {REPORTS}/console.txt):")
        print(report.last_lines(REPORTS / "journal.txt"))


def test(run: Run, files: list[str]) -> None:
    """Everything once, or some files."""
    run.tests(*files)
    if not files:
        run.shell()
        run.reboot()
        run.power_cuts(CUTS, seed=int(time.time()))
        run.uninstall()


def soak(run: Run, times: int) -> None:
    """Power cuts alone, many of them."""
    run.power_cuts(times, seed=int(time.time()))


def shell(run: Run) -> None:
    """A login shell, in the tree; the machine goes when it ends."""
    terminal = sys.stdin.isatty()
    if terminal:
        say("a shell in the machine; try: minirun run -it alpine /bin/sh. Its end is the machine's.")
    subprocess.run(run.machine.shell(terminal=terminal), check=False)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
