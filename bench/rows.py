"""What is measured: one row a piece of work. A row names who takes part, and how each does the work once.

Every row is a round game, A B C A B C ...: noise of the machine hits all alike. A work's figure is what its callable
returns: milliseconds, seconds, or MB.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from statistics import mean
from typing import TYPE_CHECKING

import memory
from engines import IMAGE, Daemon, Engine, EngineFailed, Podman
from runtimes import alone

if TYPE_CHECKING:
    from run import Bench

Work = Callable[[], float]
AT_ONCE, IDLE, LINES = 20, 10, 200_000


@dataclass(frozen=True)
class Budget:
    """What minirund may take: at most ``figure``, or ``ratio`` times what ``other`` takes. One that holds is enough."""

    figure: float = 0.0
    ratio: float = 0.0
    other: str = "docker"

    def __str__(self) -> str:
        ways = [f"{self.figure:g}"] if self.figure else []
        return "<= " + " or ".join(ways + ([f"{self.ratio:g} x {self.other}"] if self.ratio else []))

    def holds(self, figures: dict[str, float]) -> bool | None:
        """Whether minirund keeps it; None if that can't be said."""
        ours, theirs = figures.get("minirund"), figures.get(self.other)
        if ours is None or (not self.figure and theirs is None):
            return None
        return bool((self.figure and ours <= self.figure) or (self.ratio and theirs and ours <= self.ratio * theirs))


@dataclass(frozen=True)
class Row:
    """One line of the table. ``players`` is a context: what it makes is there while the row is played."""

    name: str
    title: str
    unit: str
    budget: Budget
    runs: int
    players: Callable[[Bench], AbstractContextManager[dict[str, Work]]]
    warm_up: bool = True
    """Whether a turn begins with a go that is not timed: an engine has rested by then, and others had the caches."""


def milliseconds(work: Callable[[], object]) -> Work:
    """The work, timed."""

    def timed() -> float:
        start = time.perf_counter()
        work()
        return (time.perf_counter() - start) * 1000

    return timed


def command(engine: Engine, *words: str) -> Work:
    """A whole command of an engine's client."""
    return milliseconds(lambda: engine.call(words))


@contextmanager
def run(bench: Bench) -> Iterator[dict[str, Work]]:
    yield {one.name: command(one, *one.run_words("--rm", IMAGE, "true")) for one in bench.engines}


@contextmanager
def ps(bench: Bench) -> Iterator[dict[str, Work]]:
    with idle(bench, 1):
        yield {one.name: command(one, *one.command("ps")) for one in bench.engines}


@contextmanager
def cycle(bench: Bench) -> Iterator[dict[str, Work]]:
    with ExitStack() as undo:
        players: dict[str, Work] = {}
        for one in bench.daemons:
            api = one.api()
            undo.callback(api.close)
            players[one.name] = milliseconds(lambda api=api: api.cycle(IMAGE))
        yield players | {each.name: milliseconds(each.run) for each in bench.runtimes}


@contextmanager
def runtime(bench: Bench) -> Iterator[dict[str, Work]]:
    with alone(f"{bench.disk}/alone") as ours:
        yield {"minirund": milliseconds(ours.run)} | {each.name: milliseconds(each.run) for each in bench.runtimes}


@contextmanager
def idle(bench: Bench, count: int) -> Iterator[dict[str, str]]:
    """Idle containers in every engine; the last one's ID by engine."""
    with ExitStack() as undo:
        made = {}
        for one in bench.engines:
            containers = one.idle(count)
            undo.callback(one.remove, containers)
            made[one.name] = containers[-1]
        yield made


@contextmanager
def exec_(bench: Bench) -> Iterator[dict[str, Work]]:
    with idle(bench, 1) as made:
        yield {one.name: command(one, *one.command("exec", made[one.name], "true")) for one in bench.engines}


@contextmanager
def exec_api(bench: Bench) -> Iterator[dict[str, Work]]:
    with idle(bench, 1) as made, ExitStack() as undo:
        players: dict[str, Work] = {}
        for one in bench.daemons:
            api = one.api()
            undo.callback(api.close)
            players[one.name] = milliseconds(lambda api=api, container=made[one.name]: api.exec(container))
        yield players


@contextmanager
def at_once(bench: Bench) -> Iterator[dict[str, Work]]:
    yield {one.name: seconds(lambda one=one: crowd(one)) for one in bench.engines}


def seconds(work: Callable[[], object]) -> Work:
    timed = milliseconds(work)
    return lambda: timed() / 1000


def crowd(engine: Engine) -> None:
    """``AT_ONCE`` commands at the same time. Raises EngineFailed."""
    words = engine.run_words("--rm", IMAGE, "true")
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    running = [subprocess.Popen(words, env=engine.environment, **quiet) for _ in range(AT_ONCE)]  # type: ignore[call-overload]
    ended = [(each.communicate()[1], each.returncode) for each in running]
    failed = [text.decode(errors="replace") for text, code in ended if code]
    if failed:
        raise EngineFailed(f"{engine.name}: {len(failed)} of {AT_ONCE} failed: {failed[0][-300:]}")


@contextmanager
def logs(bench: Bench) -> Iterator[dict[str, Work]]:
    numbers = ("seq", str(10**6), str(10**6 + LINES - 1))
    with ExitStack() as undo:
        for one in bench.engines:
            one.call(one.run_words("--name", "counted", IMAGE, *numbers))
            undo.callback(one.remove, ["counted"])
        yield {one.name: command(one, *one.command("logs", "counted")) for one in bench.engines}


@contextmanager
def pull(bench: Bench) -> Iterator[dict[str, Work]]:
    name = bench.big_image()
    yield {one.name: lambda one=one: pull_once(one, name) for one in bench.engines}


def pull_once(engine: Engine, name: str) -> float:
    """Seconds; what it wrote before and after is on the disk, and the image is removed again."""
    words = ["pull", "-q", *(["--tls-verify=false"] if isinstance(engine, Podman) else []), name]
    subprocess.run(["sync", "-f", engine.directory], check=True)
    took = seconds(lambda: engine.call(engine.command(*words)))()
    engine.call(engine.command("rmi", name))
    subprocess.run(["sync", "-f", engine.directory], check=True)
    return took


@contextmanager
def monitor(bench: Bench) -> Iterator[dict[str, Work]]:
    with idle(bench, IDLE):
        yield {one.name: lambda one=one: mean(memory.pss(pid) for pid in one.shims()) for one in bench.engines}


@contextmanager
def daemon(bench: Bench) -> Iterator[dict[str, Work]]:
    yield {one.name: lambda one=one: sum(memory.pss(pid) for pid in one.family()) for one in bench.daemons}


@contextmanager
def start(bench: Bench) -> Iterator[dict[str, Work]]:
    yield {one.name: lambda one=one: start_once(one) for one in bench.daemons}


def start_once(engine: Daemon) -> float:
    """Milliseconds from exec to the first answered ping. It was stopped before, and goes on to be there after."""
    engine.stop()
    return milliseconds(engine.start)()


ROWS = (
    Row("daemon", "daemon, idle: PSS of all its processes", "MB", Budget(figure=75), 3, daemon, warm_up=False),
    Row("monitor", "monitor of an idle container: PSS", "MB", Budget(figure=1.4), 3, monitor, warm_up=False),
    Row("run", "run --rm busybox true: whole command", "ms", Budget(ratio=0.25), 15, run),
    Row("api", "create, start, wait, remove over the API", "ms", Budget(15, 1.5, "crun"), 20, cycle),
    Row("runtime", "the runtime alone: start to end of `true`", "ms", Budget(6), 20, runtime),
    Row("exec", "exec true: whole command", "ms", Budget(55), 15, exec_),
    Row("exec-api", "exec true over the API", "ms", Budget(8), 20, exec_api),
    Row("ps", "ps: whole command", "ms", Budget(60), 15, ps),
    Row("at-once", f"{AT_ONCE} run --rm at once", "s", Budget(ratio=0.2), 3, at_once, warm_up=False),
    Row("logs", f"logs of {LINES:,} lines: whole command", "ms", Budget(ratio=1), 5, logs),
    Row("start", "the daemon's start: exec to its first answer", "ms", Budget(ratio=0.5), 7, start, warm_up=False),
    Row("pull", "pull and unpack, 570 MB in 3 layers", "s", Budget(ratio=0.4), 3, pull, warm_up=False),
)
"""In this order: memory is looked at before there was much work."""
