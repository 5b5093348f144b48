"""Hard use for a long time, and then a look at what is left. `make soak`, or one of:

    python tests/soak.py serial --runs 500       500 `run --rm`, one after another, with minirun and with docker
    python tests/soak.py burst --at-once 100     100 of them at once
    python tests/soak.py races --rounds 100      what may happen at the same moment: see races.py
    python tests/soak.py kill9 --rounds 200      the daemon killed with SIGKILL under load, started again, compared

Every part prints figures and ends with 1 if anything was lost or left. test_survival.py runs short versions.

In a round of ``kill9`` several workers create, start, pause, exec, stop and remove containers until the daemon dies. A
worker keeps account: what was answered holds, what was asked and not answered may have come to pass or not. Then a new
daemon starts, and the account is compared with what it says, and that with what is there: processes, cgroups,
directories, rows, addresses. Through all rounds one client types at a container and another waits for its exit code.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import shutil
import socket
import sqlite3
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # run as a program, from anywhere
    sys.path.insert(0, str(Path(__file__).parents[1]))

import races
from daemon import DaemonFailed, DaemonHost
from waiting import PATIENCE

from cgroups.cgroup import subdirectories
from minirund.engine.ready import SIZE

BROKEN = (OSError, http.client.HTTPException)
ENDS, EXIT_CODE = ["sh", "-c", "echo said; exit 7"], 7
STAYS = ["sleep", "100000"]
TICKS = ["sh", "-c", "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done"]


class Lost(Exception):
    """What was promised is not so, or something is there that should not be."""


# --- looking around ---


def inside(host: DaemonHost, name: str) -> Path:
    """A file of the daemon's state; it lies on a tmpfs that only the host's mount namespace shows."""
    return Path(f"/proc/{host._holder.pid}/root{host.state}/{name}")


def names(directory: Path) -> set[str]:
    return set(os.listdir(directory)) if directory.is_dir() else set()


def memory(host: DaemonHost) -> tuple[float, int]:
    """The daemon's memory (MB, PSS) and how many descriptors it holds."""
    text = Path(f"/proc/{host.pid}/smaps_rollup").read_text()
    kilobytes = next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    return kilobytes / 1024, len(os.listdir(f"/proc/{host.pid}/fd"))


def figures(host: DaemonHost, what: str) -> None:
    megabytes, descriptors = memory(host)
    print(f"{what:34} daemon {megabytes:6.1f} MB PSS, {descriptors:4} descriptors", flush=True)


def container_cgroups(host: DaemonHost) -> set[str]:
    found = (path for path in subdirectories(host.group.path) if path.endswith("/minirund"))
    return {os.path.basename(path) for parent in found for path in subdirectories(parent)}


def shims(host: DaemonHost) -> int:
    """How many shims live."""
    return sum(b"minirund-shim" in command for command in host.commands().values())


def rows(host: DaemonHost, table: str) -> int:
    """Counted in a copy: SQLite does not follow a path through /proc/PID/root."""
    with tempfile.TemporaryDirectory() as directory:
        for name in ("minirund.db", "minirund.db-wal"):
            with suppress(FileNotFoundError):
                shutil.copy(inside(host, f"data/{name}"), directory)
        with closing(sqlite3.connect(f"{directory}/minirund.db")) as db:
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def eventually(what: str, found: Callable[[], Any], seconds: float = PATIENCE) -> None:
    """Wait until ``found()`` is empty; what it still shows then is lost or left."""
    deadline = time.monotonic() + seconds
    while left := found():
        if time.monotonic() > deadline:
            raise Lost(f"{what}: {left}")
        time.sleep(0.02)


def container_directories(host: DaemonHost) -> set[str]:
    """Those of containers: not the few that wait for one (engine/ready.py) and have nothing in them yet."""
    directory = inside(host, "data/containers")
    made = names(directory)
    waiting = {name for name in made if names(directory / name) == {"rw"}}
    listed = {one["Id"] for one in host.api("GET", "/containers/json?all=1")[1]}
    return made - (waiting - listed) if len(waiting - listed) <= SIZE else made


def agree(host: DaemonHost) -> None:
    """What the daemon lists is what is there: no more, no less. Raises Lost."""

    def differences() -> dict[str, Any]:
        listed = host.api("GET", "/containers/json?all=1")[1]
        known = {one["Id"] for one in listed}
        alive = {one["Id"] for one in listed if one["State"] in {"running", "paused"}}
        return {
            name: difference
            for name, difference in {
                "directories": container_directories(host) ^ known,
                "run directories": names(inside(host, "run/containers")) - known,
                "cgroups": container_cgroups(host) ^ alive,
                "shims": shims(host) - len(alive),
                "rows": rows(host, "containers") - len(known),
                "trash": names(inside(host, "data/trash")),
                "half-made layers": {name for name in names(inside(host, "data/layers")) if name.startswith(".")},
            }.items()
            if difference
        }

    eventually("daemon and world differ", differences)
    addresses(host)


def addresses(host: DaemonHost) -> None:
    """Nobody shares an address, and each container has the one that the daemon says. Raises Lost."""
    seen: dict[str, str] = {}
    for one in host.api("GET", "/containers/json")[1]:
        state = host.api("GET", f"/containers/{one['Id']}/json")[1]
        address, pid = state["NetworkSettings"]["IPAddress"], state["State"]["Pid"]
        if address in seen:
            raise Lost(f"{address} belongs to {seen[address]} and to {one['Id']}")
        seen[address] = one["Id"]
        try:
            there = Path(f"/proc/{pid}/net/fib_trie").read_text()
        except OSError as error:
            raise Lost(f"{one['Names']} is said to run as {pid}, which is not there") from error
        if f"-- {address}\n" not in there:
            raise Lost(f"{one['Names']} is said to have {address}: {there}")


def nothing_left(host: DaemonHost) -> None:
    """With all containers removed and the daemon stopped. Raises Lost."""
    host.remove_containers()
    agree(host)
    if rows(host, "containers") or rows(host, "execs"):
        raise Lost("rows of containers or execs are left")
    host.stop()
    if left := host.leftovers():
        raise Lost(f"left behind:\n{left}")
    for directory in ("data/containers", "run/containers", "data/trash", "run/rootfs"):
        if left_files := names(inside(host, directory)):
            raise Lost(f"{directory}: {left_files}")


# --- runs ---


def one_run(host: DaemonHost, number: int) -> None:
    """`run --rm`, with the one command or the other: output and exit code are right. Raises Lost."""
    client, code = (host.docker if number % 2 else host.cli), number % 3
    done = client("run", "--rm", "busybox", "sh", "-c", f"echo {number}; exit {code}")
    if (done.returncode, done.stdout, done.stderr) != (code, f"{number}\n", ""):
        raise Lost(f"run {number}: {done}")


def serial(host: DaemonHost, runs: int) -> None:
    """One after another."""
    for number in range(runs):
        one_run(host, number)
        if number + 1 in {10, 100, 300, 500, runs}:
            figures(host, f"after {number + 1} runs")
    agree(host)


def burst(host: DaemonHost, at_once: int) -> None:
    """All at once; three times, as the first may well cost memory that stays."""
    for time_number in range(3):
        began = time.monotonic()
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(lambda number: one_run(host, number), range(at_once)))
        figures(host, f"{at_once} at once, {time_number + 1}. time, {time.monotonic() - began:.1f} s")
    agree(host)


def all_races(host: DaemonHost, rounds: int) -> None:
    """Each of races.py."""
    for race in races.RACES:
        try:
            races.run(host, race, rounds)
        except races.Broken as error:
            raise Lost(str(error)) from error
        figures(host, race.__name__)


# --- kill -9 ---


@dataclass
class Account:
    """What one container may be, as far as its worker knows: "absent", or a status of the API."""

    name: str
    ends: bool
    may_be: set[str] = field(default_factory=lambda: {"absent"})
    ident: str = ""

    def asked(self, *outcomes: str) -> None:
        """From now on it may be so too."""
        self.may_be |= set(outcomes)

    def answered(self, *outcomes: str) -> None:
        """It is so."""
        self.may_be = set(outcomes)


class Worker:
    """One client with containers of its own, which nobody else touches."""

    def __init__(self, host: DaemonHost, name: str, seed: int) -> None:
        self.host, self.name = host, name
        self.accounts: dict[str, Account] = {}
        self.broken: list[str] = []
        self.acknowledged = 0
        self._random = random.Random(seed)
        self._numbers = iter(range(1_000_000))
        self._images: set[str] = set()
        self._connection: Any = None

    def work(self) -> None:
        """Until the daemon is gone."""
        with closing(self.host.connection(PATIENCE)) as self._connection:
            try:
                while True:
                    self.step()
            except BROKEN:
                return
            except Lost as error:
                self.broken.append(str(error))

    def step(self) -> None:
        """One thing to do, with one of the containers or a new one."""
        known = [one for one in self.accounts.values() if one.may_be != {"absent"}]
        if len(known) < 3 or (len(known) < 6 and self._random.random() < 0.3):
            self.create()
            return
        one = self._random.choice(known)
        choices: dict[str, Sequence[Callable[[Account], None]]] = {
            "created": (self.start, self.start, self.start, self.remove),
            "running": (self.stop, self.pause, self.execute, self.execute, self.remove, self.tag),
            "paused": (self.unpause, self.unpause, self.remove),
            "exited": (self.start, self.remove),
        }
        self._random.choice(choices[self._random.choice(sorted(one.may_be - {"absent"}))])(one)

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        self._connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 500:
            raise Lost(f"{method} {path}: {answer.status} {text!r}")
        self.acknowledged += answer.status < 400
        return answer.status, json.loads(text) if text.startswith((b"{", b"[")) else text

    def create(self) -> None:
        number = next(self._numbers)
        one = Account(f"{self.name}-{number}", ends=self._random.random() < 0.4)
        self.accounts[one.name] = one
        one.asked("created")
        body = {"Image": "busybox", "Cmd": ENDS if one.ends else STAYS, "HostConfig": {}}
        status, answer = self.ask("POST", f"/containers/create?name={one.name}", body)
        self.expect(status, {201}, one)
        one.ident = answer["Id"]
        one.answered("created")

    def start(self, one: Account) -> None:
        one.asked("running", *(["exited"] if one.ends else []))
        status, _ = self.ask("POST", f"/containers/{one.name}/start")
        self.expect(status, {204, 304}, one)
        one.answered("running", *(["exited"] if one.ends else []))

    def stop(self, one: Account) -> None:
        one.asked("exited")
        status, _ = self.ask("POST", f"/containers/{one.name}/stop?t=0")
        self.expect(status, {204, 304}, one)
        one.answered("exited")

    def pause(self, one: Account) -> None:
        if not one.ends:
            one.asked("paused")
            status, _ = self.ask("POST", f"/containers/{one.name}/pause")
            self.expect(status, {204, 409}, one)
            one.answered("paused" if status == 204 else "running")

    def unpause(self, one: Account) -> None:
        one.asked("running")
        status, _ = self.ask("POST", f"/containers/{one.name}/unpause")
        self.expect(status, {204, 409}, one)
        one.answered("running")

    def execute(self, one: Account) -> None:
        status, answer = self.ask("POST", f"/containers/{one.name}/exec", {"Cmd": ["true"]})
        if status == 201:
            status, _ = self.ask("POST", f"/exec/{answer['Id']}/start", {"Detach": True})
        self.expect(status, {200} if one.may_be == {"running"} and not one.ends else {200, 400, 409}, one)

    def remove(self, one: Account) -> None:
        one.asked("absent", *({"exited"} if one.may_be & {"running", "paused"} else set()))  # it is killed first
        status, _ = self.ask("DELETE", f"/containers/{one.name}?force=1")
        self.expect(status, {204}, one)
        one.answered("absent")

    def tag(self, _one: Account) -> None:
        """Another image, so to speak: a name that is kept or not, with what it names whole."""
        name = f"{self.name}-image:{next(self._numbers)}"
        repo, _, tag = name.partition(":")
        status, answer = self.ask("POST", f"/images/busybox/tag?repo={repo}&tag={tag}")
        if status != 201:
            raise Lost(f"tag {name}: {status} {answer}")
        self._images.add(name)
        if len(self._images) > 3:
            gone = self._images.pop()
            self.ask("DELETE", f"/images/{gone}")

    def expect(self, status: int, wanted: set[int], one: Account) -> None:
        """Doubt after a crash is ended by ``compare``: within a round every answer is known."""
        if status not in wanted:
            raise Lost(f"{one.name}, which may be {sorted(one.may_be)}: answered {status}, not {sorted(wanted)}")

    def compare(self) -> None:
        """What the new daemon says must be among what may be. Raises Lost."""
        if self.broken:
            raise Lost("; ".join(self.broken))
        for one in self.accounts.values():
            status, found = self.host.api("GET", f"/containers/{one.name}/json")
            state = "absent" if status == 404 else found["State"]["Status"]
            if state not in one.may_be:
                raise Lost(f"{one.name} is {state}, and was to be {sorted(one.may_be)}")
            if state == "exited" and one.ends and found["State"]["ExitCode"] not in {EXIT_CODE, 137}:
                raise Lost(f"{one.name} ended with {found['State']['ExitCode']}")
            one.answered(*([state, "exited"] if state == "running" and one.ends else [state]))
        self.accounts = {name: one for name, one in self.accounts.items() if one.may_be != {"absent"}}
        for name in self._images:
            if self.host.api("GET", f"/images/{name}/json")[0] != 200:
                raise Lost(f"the image {name} is gone")


class Loader:
    """A client that loads images all the time: each is there whole, or not at all."""

    def __init__(self, host: DaemonHost) -> None:
        self.host, self.broken = host, ""
        self.loaded: list[str] = []
        self._numbers = iter(range(1_000_000))

    def work(self) -> None:
        """Until the daemon is gone."""
        try:
            while True:
                name = f"loaded-{next(self._numbers)}:latest"
                self.host.load_busybox(name)
                self.loaded.append(name)
                if len(self.loaded) > 3:
                    self.host.api("DELETE", f"/images/{self.loaded.pop(0)}")
        except BROKEN:
            return
        except DaemonFailed as error:
            self.broken = str(error)

    def compare(self) -> None:
        """Raises Lost."""
        if self.broken:
            raise Lost(self.broken)
        for name in self.loaded:
            if self.host.api("GET", f"/images/{name}/json")[0] != 200:
                raise Lost(f"the image {name} is gone")


class Typist:
    """A client that stays connected to a container's stdin and stdout, whatever the daemon does."""

    def __init__(self, host: DaemonHost, *command: str) -> None:
        body = {"Image": "busybox", "Cmd": [*command], "OpenStdin": True, "AttachStdin": True, "StdinOnce": True}
        self.host = host
        self.ident = host.api("POST", "/containers/create?name=typist", body)[1]["Id"]
        self._socket = self._upgraded(f"/containers/{self.ident}/attach?stream=1&stdin=1&stdout=1&stderr=1")
        if host.api("POST", f"/containers/{self.ident}/start")[0] != 204:
            raise Lost("the container to type at did not start")
        self._waiting = host.connection(600)
        self._waiting.request("POST", f"/containers/{self.ident}/wait")
        self._unframed = b""

    def _upgraded(self, path: str) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(PATIENCE)
        client.connect(self.host.socket)
        head = f"POST {path} HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n"
        client.sendall(head.encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1)
        if b" 101 " not in answer:
            raise Lost(f"attach: {answer!r}")
        return client

    def type(self, line: str) -> str:
        """What comes back."""
        self._socket.sendall(line.encode())
        shown = b""
        while not shown.endswith(b"\n"):
            header = self._socket.recv(8, socket.MSG_WAITALL)
            if len(header) < 8:
                raise Lost(f"the stream of the one who types ended, after {shown!r}")
            shown += self._socket.recv(struct.unpack(">BxxxI", header)[1], socket.MSG_WAITALL)
        return shown.decode()

    def end(self) -> int:
        """Close, and the exit code that the wait gives."""
        self._socket.close()
        with closing(self._waiting):
            answer = self._waiting.getresponse()
            return int(json.loads(answer.read())["StatusCode"])


def ticks(host: DaemonHost, name: str) -> int:
    """How many numbers the container's log holds. Raises Lost if one is missing."""
    text = host.cli("logs", name).stdout.split()
    if text != [str(number) for number in range(len(text))]:
        raise Lost(f"the log of {name} has gaps: {text}")
    return len(text)


@contextmanager
def load_from(workers: Sequence[Worker | Loader]) -> Iterator[None]:
    """All at work; at the end all have noticed that the daemon is gone."""
    threads = [threading.Thread(target=worker.work) for worker in workers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for thread in threads:
            thread.join()


def kill9(host: DaemonHost, rounds: int, seed: int = 1) -> None:
    """SIGKILL under load, start, compare; so many times. Raises Lost."""
    moments = random.Random(seed)
    workers: list[Worker | Loader] = [Worker(host, f"w{number}", seed + number) for number in range(4)]
    workers.append(Loader(host))
    typist = Typist(host, "sh", "-c", "while read line; do echo $line; done; exit 5")
    host.cli("run", "-d", "--name", "ticker", "busybox", *TICKS)
    counted = 0
    for number in range(rounds):
        with load_from(workers):
            time.sleep(moments.uniform(0, 0.6))
            host.kill9()
        if moments.random() < 0.3:
            time.sleep(0.2)  # things go on while no daemon runs
        host.start()
        for worker in workers:
            worker.compare()
        agree(host)
        if (line := typist.type(f"{number}\n")) != f"{number}\n":
            raise Lost(f"typed {number}, read {line!r}")
        before, counted = counted, ticks(host, "ticker")
        if counted <= before:
            raise Lost("the ticker's log has stopped")
        if number % 20 == 19:
            done = sum(one.acknowledged for one in workers if isinstance(one, Worker))
            figures(host, f"round {number + 1}, {done} requests answered")
    if (code := typist.end()) != 5:
        raise Lost(f"the one who waited through it all was told {code}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("serial", "burst", "races", "kill9", "all"))
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    parts: dict[str, Callable[[DaemonHost], None]] = {
        "serial": lambda host: serial(host, options.runs),
        "burst": lambda host: burst(host, options.at_once),
        "races": lambda host: all_races(host, options.rounds),
        "kill9": lambda host: kill9(host, options.rounds, options.seed),
    }
    return sum(report(name, parts[name]) for name in (parts if options.part == "all" else (options.part,)))


def report(name: str, part: Callable[[DaemonHost], None]) -> int:
    """One part on a host of its own: 0, or 1 with what was found and the daemon's last words."""
    with DaemonHost() as host:
        host.start()
        host.load_busybox()
        try:
            part(host)
            nothing_left(host)
        except Lost as error:
            print(f"{name}: LOST: {error}\n\nthe daemon's log:\n{host.log_tail()}", file=sys.stderr)
            return 1
    print(f"{name}: nothing lost, nothing left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
