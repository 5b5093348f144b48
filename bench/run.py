"""`make bench`: minirund beside docker, podman, runc and crun; one table of medians.

    bench/run.py [--rows run,api,...] [--engines docker,minirund,...] [--runs N] [--json FILE] [--dir DIR]

All engines run at the same time, in a place of their own (place.py), and take turns at the same work with the same
image (rows.py). `ok` and `over` tell whether minirund keeps its budget (docs/architecture.md).
"""

from __future__ import annotations

import argparse
import http.client
import os
import platform
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "tests"), str(HERE.parent)]

import bigimage  # noqa: E402
import place  # noqa: E402
from api import ApiError  # noqa: E402
from engines import ENGINES, IMAGE, Daemon, Engine, EngineFailed  # noqa: E402
from place import Place  # noqa: E402
from registries import running_registry  # noqa: E402
from report import Report, Samples, load  # noqa: E402
from rows import ROWS, Row, Work  # noqa: E402
from runtimes import Command  # noqa: E402

INSIDE = "--inside"
RUNTIMES = ("/usr/sbin/runc", "/usr/bin/crun")
MEMORY = "/dev/shm"
REST = 0.15  # seconds in which an engine clears up behind its last turn; it must not do so in the next one's
FAILURES = (EngineFailed, ApiError, http.client.HTTPException, subprocess.SubprocessError, OSError, AssertionError)


class Bench:
    """The engines that run, the runtimes that are there, and what has been measured."""

    def __init__(self, disk: str, options: argparse.Namespace) -> None:
        self.disk, self.options, self.report = disk, options, Report()
        self.engines: list[Engine] = []
        self.runtimes: list[Command] = []
        self._undo = ExitStack()
        self._big = ""

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self._undo.close()

    @property
    def daemons(self) -> list[Daemon]:
        return [engine for engine in self.engines if isinstance(engine, Daemon)]

    def note(self, text: str) -> None:
        """Something that is not in the table, and why."""
        self.report.notes.append(text)

    def start(self) -> None:
        """Start what is wanted and there; load the image into each, and run it once."""
        archive = f"{self.disk}/busybox.tar"
        subprocess.run([HERE.parent / "scripts/make-busybox-image", "--output", archive], check=True)
        for kind in ENGINES:
            if kind.name in self.options.engines:
                self._start(kind(self.disk), archive)
        for program in RUNTIMES:
            runtime = Command(program, self.disk)
            if runtime.name in self.options.engines:
                self._prepare(runtime)

    def _start(self, engine: Engine, archive: str) -> None:
        if engine.missing():
            self.note(f"{engine.name} is left out: {engine.missing()} is not installed")
            return
        say(f"starting {engine.name}")
        try:
            self._undo.enter_context(engine)
            engine.load(archive)
            engine.call(engine.run_words("--rm", IMAGE, "true"))
        except (EngineFailed, subprocess.TimeoutExpired) as error:
            self.note(f"{engine.name} is left out: {error}")
            return
        self.engines.append(engine)

    def _prepare(self, runtime: Command) -> None:
        if runtime.missing():
            self.note(f"{runtime.name} is left out: {runtime.program} is not installed")
            return
        try:
            runtime.prepare()
            runtime.run()
        except (EngineFailed, subprocess.CalledProcessError) as error:
            self.note(f"{runtime.name} is left out: {error}")
            return
        self.runtimes.append(runtime)

    def big_image(self) -> str:
        """The name of the big image, in a registry that was started for it."""
        if not self._big:
            registry = self._undo.enter_context(running_registry(where=MEMORY))
            say("making the big image")
            layers = bigimage.make(MEMORY)
            self._big = bigimage.push(layers, registry.address)
            described = ", ".join(f"{each.unpacked >> 20} MB {each.files} files" for each in layers)
            self.report.facts["big image"] = described + f"; {sum(each.size for each in layers) >> 20} MB compressed"
        return self._big

    def play(self, row: Row) -> None:
        """One row: everybody in turn, round after round."""
        say(f"{row.name}: {row.title}")
        samples = self.report.samples.setdefault(row.name, {})
        try:
            with row.players(self) as players:
                for _ in range(self.options.runs or row.runs):
                    self._round(row, players, samples)
        except FAILURES as error:
            self.note(f"{row.name} broke off: {error}")

    def _round(self, row: Row, players: dict[str, Work], samples: Samples) -> None:
        """A turn for each: a rest, where the row says so a go that does not count, and the one that does."""
        for name, work in list(players.items()):
            time.sleep(REST)
            try:
                if row.warm_up:
                    work()
                samples.setdefault(name, []).append(work())
            except FAILURES as error:
                self.note(f"{row.name}, {name}: {error}")
                del players[name]


def say(text: str) -> None:
    """Progress, beside the table."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run.py", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    names = [row.name for row in ROWS]
    everybody = [kind.name for kind in ENGINES] + [os.path.basename(path) for path in RUNTIMES]
    parser.add_argument("--rows", default=",".join(names), help="rows to measure (default: %(default)s)")
    parser.add_argument("--engines", default=",".join(everybody), help="who takes part (default: %(default)s)")
    parser.add_argument("--runs", type=int, default=0, help="rounds of every row (default: 3 to 20, as the row says)")
    parser.add_argument("--json", help="write everything to a file, every sample too")
    parser.add_argument("--dir", default="/var/tmp", help="where the disk's file lies (default: %(default)s)")
    parser.add_argument(INSIDE, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    for field, known in (("rows", names), ("engines", everybody)):
        given = getattr(options, field).split(",")
        unknown = set(given) - set(known)
        if unknown:
            parser.error(f"--{field}: {', '.join(sorted(unknown))}: known are {', '.join(known)}")
        setattr(options, field, given)
    return options


def measure(options: argparse.Namespace) -> int:
    """In the place: start, play, print."""
    disk = place.prepare(Place(*options.inside))
    rows = tuple(row for row in ROWS if row.name in options.rows)
    with Bench(disk, options) as bench:
        facts = bench.report.facts
        facts |= {"kernel": platform.release(), "cpus": os.cpu_count(), "load before": load()}
        bench.start()
        facts["versions"] = versions(bench)
        for row in rows:
            bench.play(row)
        facts["load after"] = load()
        show(bench.report, rows)
        if options.json:
            bench.report.save(options.json, rows)
    return 0


def versions(bench: Bench) -> dict[str, str]:
    """First line of everybody's --version."""
    programs = {each.name: each.programs[0] for each in bench.engines} | {e.name: e.program for e in bench.runtimes}
    found = {}
    for name, path in programs.items():
        done = subprocess.run([path, "--version"], check=False, capture_output=True, text=True)
        found[name] = done.stdout.partition("\n")[0]
    return found


def show(report: Report, rows: tuple[Row, ...]) -> None:
    facts = report.facts
    print("Medians, with the ratio to docker's.")
    print(*report.lines(rows), sep="\n")
    print("\n" + "; ".join(facts["versions"].values()))
    print(
        f"Linux {facts['kernel']}, {facts['cpus']} CPUs; load average "
        f"{facts['load before']} before, {facts['load after']} after"
    )
    if "big image" in facts:
        print(f"The big image: {facts['big image']}")
    for note in report.notes:
        print(f"Note: {note}")


def main(arguments: list[str]) -> int:
    """Outside: make the place and go in; inside: measure."""
    options = parse(arguments)
    if options.inside:
        return place.first_process(lambda: measure(options))
    if os.geteuid() != 0:
        print("bench: this needs root: engines make namespaces and mounts", file=sys.stderr)
        return 1
    if options.json:
        arguments += ["--json", os.path.abspath(options.json)]
    with place.outside(options.dir) as made:
        inside = [*arguments, INSIDE, made.group, made.directory]
        return place.enter(made, [sys.executable, str(HERE / "run.py"), *inside])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
