"""What a run does with its machine, from the host's side: install, test, reboot, pull the plug, uninstall.

Inside, everything is checked by pytest (tests/vm); only what a machine can't do to itself is done here. Each step
becomes a row of the report, with its duration.
"""

from __future__ import annotations

import random
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from qemu import report
from qemu.disk import ROOT, TREE, say, tree_archive
from qemu.machine import Machine, MachineFailed
from qemu.stale import REWRITTEN
from qemu.terminal import talk

REPORTS = ROOT / "build/vm"
INSIDE = "/root/report"
"""Where the machine collects reports, ledgers and the wheels that it is given."""
BOOTS = "tests/vm/boots"
TYPED = (
    ("# ", "minirun run -it --rm alpine /bin/sh"),
    ("/ # ", "test -t 0 && test $$ = 1 && echo answer: $((6 * 7))"),
    ("/ # ", "exit"),
    ("# ", "exit"),
)
"""What is waited for in a shell, and what is typed then."""
CUT_AFTER = (2.0, 12.0)
"""Seconds of load before the plug is pulled: any moment between the two."""


class Run:
    """One run: a machine, and what is known about it so far."""

    def __init__(self, machine: Machine, work: Path) -> None:
        self.machine, self._work = machine, work
        self.parts: list[report.Part] = []
        self.wheel = ""
        """The installed version's wheel, as a path in the machine."""

    @property
    def failed(self) -> int:
        """How many tests and steps have failed."""
        return sum(part.failed for part in self.parts)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """A step of the host's, timed. If the machine fails it, that is said, and the run is over."""
        say(name)
        started, failed = time.monotonic(), 1
        try:
            yield
            failed = 0
        finally:
            self.parts.append(report.Part(name, 0, failed, 0, time.monotonic() - started))

    # --- the beginning and the end

    def start(self) -> None:
        """Boot and bring the project in; the wheels are built meanwhile."""
        with ThreadPoolExecutor(1) as builder:
            wheels = builder.submit(build_wheels, self._work)
            with self.step("boot"):
                self.machine.start()
        with self.step("provision: make install, from a wheel"):
            self._deliver(wheels.result())
            script = f"cd /{TREE} && WHEEL={self.wheel} vagrant/provision.sh"
            if self.machine.show(script):
                raise MachineFailed("vagrant/provision.sh failed; what it says stands above")

    def _deliver(self, wheels: list[str]) -> None:
        """The tree without what older trees left, and two wheels: this version's, and one of a version after it."""
        keep_environment = f"find /{TREE} -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {{}} +"
        self.machine.run(f"{keep_environment}; mkdir -p {INSIDE}", check=True)
        self._send(tree_archive(), f"/{TREE}")
        self._send(["tar", "-c", "-C", str(self._work / "wheels"), "."], INSIDE)
        self.wheel = f"{INSIDE}/{wheels[0]}"
        self.machine.run(f"ln -s {INSIDE}/{wheels[1]} {INSIDE}/newer; sync", check=True)

    def _send(self, archive: list[str], target: str) -> None:
        with subprocess.Popen(archive, cwd=ROOT, stdout=subprocess.PIPE) as sender:
            assert sender.stdout
            self.machine.run(f"tar -x -C {target}", check=True, stdin=sender.stdout)

    def collect(self) -> None:
        """Bring reports, journal and console out, into build/vm."""
        shutil.rmtree(REPORTS, ignore_errors=True)
        REPORTS.mkdir(parents=True)
        if self.machine.console.exists():
            shutil.copyfile(self.machine.console, REPORTS / "console.txt")
        if (self._work / REWRITTEN).exists():
            shutil.copyfile(self._work / REWRITTEN, REPORTS / "rewritten.txt")
        journal = self.machine.run("journalctl --no-pager --output=short-precise", check=False, timeout=120)
        (REPORTS / "journal.txt").write_text(journal.stdout)
        with self.machine.stream(f"cd {INSIDE} && tar -c --exclude=*.whl .") as sender:
            subprocess.run(["tar", "-x", "-C", str(REPORTS)], stdin=sender.stdout, check=False)

    # --- tests inside

    def tests(self, *files: str) -> None:
        """Run vagrant/test.sh, for some files or for all that need one boot only."""
        say(f"tests: {' '.join(files) or 'all that need one boot'}")
        self._reported(shlex.join(["vagrant/test.sh", *files]))

    def checks(self, name: str, row: str, **environment: str) -> None:
        """Run one file of tests/vm/boots; its row in the report is called ``row``."""
        words = " ".join(f"{key}={shlex.quote(value)}" for key, value in environment.items())
        self._reported(f"{words} vagrant/test.sh {BOOTS}/{name}.py", row)

    def _reported(self, script: str, row: str = "") -> None:
        place = f"{INSIDE}/{re.sub(r'[^a-z0-9]+', '-', row) or 'tests'}"
        inside = f"cd /{TREE} && mkdir -p {place} && REPORT={place} WHEEL={self.wheel} NEWER={INSIDE}/newer {script}"
        code = self.machine.show(inside)
        parts = self._read(place, row)
        self.parts += parts
        if code and not any(part.failed for part in parts):
            self.parts.append(report.Part(f"{row or 'tests'}: exit code {code}", 0, 1, 0, 0))

    def _read(self, place: str, row: str) -> list[report.Part]:
        target = self._work / "junit"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        with self.machine.stream(f"tar -c -C {place} .") as sender:
            unpacked = subprocess.run(["tar", "-x", "-C", str(target)], stdin=sender.stdout, check=False)
        if unpacked.returncode:
            self.parts.append(report.Part(f"{row or 'tests'}: no report", 0, 1, 0, 0))
            raise MachineFailed(f"the machine: its reports in {place} can't be read; does it still answer?")
        return [part for file in sorted(target.glob("*.xml")) for part in report.read(file, row)]

    def shell(self) -> None:
        """What `make vm-shell` gives, used as a person would: a shell, and in it one in a container."""
        say("a shell on a terminal, and one in a container")
        started = time.monotonic()
        code, shown = talk(self.machine.shell(terminal=True), TYPED)
        failed = int(code != 0 or "answer: 42" not in shown)
        if failed:
            print(shown, f"exit code {code}", sep="\n")
        self.parts.append(report.Part("minirun run -it alpine", 1 - failed, failed, 0, time.monotonic() - started))

    # --- several boots

    def reboot(self) -> None:
        """Restart policies over a reboot that systemd makes."""
        self.checks("before_reboot", "before the reboot")
        with self.step("reboot"):
            self.machine.reboot()
        self.checks("after_reboot", "after the reboot")

    def power_cuts(self, times: int, seed: int) -> None:
        """Pull the plug under load at a random moment, boot, compare with what was answered before; ``times`` over."""
        say(f"power cut under load, {times} times (seed {seed})")
        chance = random.Random(seed)  # noqa: S311 - a moment, not a secret
        ledger: list[str] = []
        for number in range(1, times + 1):
            seconds = chance.uniform(*CUT_AFTER)
            with self.step(f"power cut {number} after {seconds:.1f} s of load, boot"):
                ledger += self._load_until_cut(number, seconds)
                self.machine.start()
                self._send_text("".join(ledger), f"{INSIDE}/ledger")
            say(f"{len(ledger)} answers are in the ledger")
            self.checks("after_power_cut", f"after power cut {number}", LEDGER=f"{INSIDE}/ledger")

    def _load_until_cut(self, number: int, seconds: float) -> list[str]:
        """The lines that the load had written when the machine went dark. The first says that it is at work."""
        load = self.machine.stream(f"cd /{TREE} && exec .venv/bin/python {BOOTS}/load.py {number}")
        assert load.stdout
        lines: list[str] = []
        for line in load.stdout:
            if line == "ready\n":
                break
            lines.append(line)
        else:
            raise MachineFailed(f"the load did not start: {''.join(lines)}")
        reader = Thread(target=lambda: lines.extend(load.stdout or ()))
        reader.start()
        time.sleep(seconds)
        self.machine.cut()
        load.wait()
        reader.join()
        return [line for line in lines if line.endswith("\n")]

    def _send_text(self, text: str, target: str) -> None:
        path = self._work / "text"
        path.write_text(text)
        with path.open("rb") as file:
            self.machine.run(f"cat >{target}", check=True, stdin=file)

    def uninstall(self) -> None:
        """Take everything away again: the last thing that a machine sees."""
        self.checks("uninstall", "uninstall")


def build_wheels(work: Path) -> list[str]:
    """Build the tree's wheel, and one that says it is the next version; their names below ``work``/wheels."""
    source, target = work / "source", work / "wheels"
    source.mkdir()
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    for name in ("minirund", "cgroups", "netns", "overlayfs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    pip = [str(ROOT / ".venv/bin/pip"), "wheel", "-qqq", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(target), str(source)], check=True)
    for file, before in (("pyproject.toml", "version = "), ("minirund/__init__.py", "__version__ = ")):
        path = source / file
        path.write_text(re.sub(rf'^({before}"[^"]+)"', r'\1.post1"', path.read_text(), flags=re.MULTILINE))
    subprocess.run([*pip, "--wheel-dir", str(target), str(source)], check=True)
    newer, this = sorted((path.name for path in target.glob("*.whl")), key=lambda name: ".post" not in name)
    return [this, newer]
