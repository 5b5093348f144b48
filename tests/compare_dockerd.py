"""The same requests to minirund and to a real dockerd, and what differs in the answers. Run by hand:

    python tests/compare_dockerd.py [WORD ...]      only the requests whose title contains one of the words

Each daemon has a place of its own (containment.py), so neither meets the other or this machine's. An answer is its
status, and its body: JSON with every value that must differ (IDs, times, addresses, sizes) replaced by a word, text as
it is. What differs on purpose is in docs/differences.md. dockerd is Debian's 20.10, which speaks version 1.41 of the
API; both are asked in that version. Some of its words and statuses have changed since; where minirund has the newer
ones, that shows here too.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from daemon import DaemonHost
from dockerd_requests import REQUESTS, Request

VERSION = "/v1.41"


class DockerdHost(DaemonHost):
    """A place with dockerd in it."""

    def start(self, *_: str, env: Mapping[str, str] | None = None) -> None:
        """Start it; it starts a containerd of its own."""
        script = "umount -R -l /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec dockerd " + " ".join(
            (
                f"-H {self.url} --data-root {self.state}/data --exec-root {self.state}/run",
                f"--pidfile {self.state}/dockerd.pid --config-file {self.config}",
                "--exec-opt native.cgroupdriver=cgroupfs --storage-driver overlay2",
            )
        )
        with self.log.open("ab") as log:
            self.daemon = subprocess.Popen(
                self.inside("unshare", "-m", "--propagation", "private", "sh", "-c", script),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait_until_it_answers()


@dataclass
class Driver:
    """One daemon, and what was learned of it: {name} in a request's path or body stands for it."""

    host: DaemonHost
    known: dict[str, str] = field(default_factory=dict)

    def ask(self, request: Request) -> Any:
        """The answer, comparable."""
        time.sleep(request.after)
        self.known["now"] = str(int(time.time()))
        path = _filled(request.path, self.known)
        status, answer = self.host.api(request.method, VERSION + path, request.body, request.headers)
        if isinstance(answer, dict) and "Id" in answer:
            self.known[request.learn or ("image" if "RepoTags" in answer else "")] = answer["Id"]
        return {"status": status, "body": masked(lines(answer))}


def _filled(text: str, known: Mapping[str, str]) -> str:
    return re.sub(r"<(\w+)>", lambda found: known.get(found[1], found[0]), text)


def lines(answer: Any) -> Any:
    """JSON objects one after the other become a list."""
    if isinstance(answer, list):
        return sorted(answer, key=lambda item: str(item.get("Name", "")) if isinstance(item, dict) else "")
    if not isinstance(answer, str):
        return answer
    try:
        return [json.loads(line) for line in answer.splitlines() if line.strip()]
    except ValueError:
        return answer


PATTERNS = (
    (re.compile(r"\b(sha256:)?[0-9a-f]{64}\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{12}\b"), "SHORT"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|[+-]\d\d:\d\d)"), "TIME"),
    (re.compile(r"\b\d+\.\d+\.\d+\.\d+(/\d+)?\b"), "ADDRESS"),
    (re.compile(r"\b([0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "MAC"),
    (re.compile(r"\b(Less than a second|About a minute|\d+ seconds?)\b"), "AWHILE"),
    (re.compile(r"/[^ \"]*minirun-test-[^ \"]*"), "PATH"),
)
VARYING = frozenset("Pid Created time timeNano Size VirtualSize SizeRw SizeRootFs SpaceReclaimed LayersSize".split())
"""Keys whose numbers mean nothing here."""


def masked(value: Any, key: str = "") -> Any:
    """A body whose varying values are words."""
    if isinstance(value, dict):
        return {_masked_text(name): masked(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str):
        return _masked_text(value)
    return "NUMBER" if key in VARYING and isinstance(value, int) and value else value


def _masked_text(text: str) -> str:
    for pattern, word in PATTERNS:
        text = pattern.sub(word, text)
    return text


def differences(theirs: Any, ours: Any, where: str = "") -> Iterator[str]:
    """Each place in which two answers differ, in a line."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted(theirs.keys() | ours.keys()):
            at = f"{where}.{key}".lstrip(".")
            if key not in ours:
                yield f"{at}: missing (dockerd: {_short(theirs[key])})"
            elif key not in theirs:
                yield f"{at}: ours alone: {_short(ours[key])}"
            else:
                yield from differences(theirs[key], ours[key], at)
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for number, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif theirs != ours or type(theirs) is not type(ours):
        yield f"{where}:\n      dockerd:  {_short(theirs)}\n      minirund: {_short(ours)}"


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 400 else text[:400] + "..."


def compare(theirs: Driver, ours: Driver, words: list[str]) -> int:
    """Ask both everything; print what differs, and return in how many requests."""
    count = 0
    for request in REQUESTS:
        pair = [driver.ask(request) for driver in (theirs, ours)]
        if words and not any(word in request.title for word in words):
            continue
        if found := list(differences(*pair)):
            count += 1
            print(f"\n{request.title}: {request.method} {request.path}", *found, sep="\n    ")
    return count


def main() -> int:
    """0 if nothing differs."""
    if not shutil.which("dockerd"):
        sys.exit("dockerd is not installed: apt install docker.io")
    with DockerdHost() as docker, DaemonHost() as own:
        for host in (docker, own):
            host.start()
            host.load_busybox()
        count = compare(Driver(docker), Driver(own), sys.argv[1:])
    print(f"\n{count} of {len(REQUESTS)} requests are answered differently")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
