"""Where the time goes: minirund's requests one by one, and under strace the moments between them.

    bench/trace.py [--runs N] [--strace FILE]

The API cycle (create, start, wait, remove) and the exec are timed request by request; of the command `run --rm` the
same is read from its system calls. ``--strace`` writes one cycle and one command, all processes, with times.
"""

from __future__ import annotations

import argparse
import itertools
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "tests"), str(HERE.parent)]

import place  # noqa: E402
from api import Api  # noqa: E402
from engines import IMAGE, Minirund  # noqa: E402

Spans = dict[str, list[float]]
CALLS = "execve,clone,clone3,connect,accept4,sendto,sendmsg,recvfrom,recvmsg,write,writev,read,poll,epoll_wait,\
exit_group,unlink,unlinkat,rename,mkdir,rmdir,openat,pwrite64,fsync,fdatasync,futex,waitid,mount,umount2,move_mount,\
fsmount,fsopen,fsconfig,open_tree,mount_setattr,pivot_root,setns,unshare,bpf,seccomp,close"


class Clock:
    """Named spans: each ``lap`` is the time since the one before."""

    def __init__(self, spans: Spans) -> None:
        self._spans, self._last = spans, time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self._spans.setdefault(name, []).append((now - self._last) * 1000)
        self._last = now


def cycle(api: Api, spans: Spans) -> None:
    """create, start, wait, remove; a span each."""
    clock = Clock(spans)
    made = api.call("POST", "/v1.41/containers/create", {"Image": IMAGE, "Cmd": ["true"]})["Id"]
    clock.lap("create")
    api.call("POST", f"/v1.41/containers/{made}/start")
    clock.lap("start")
    api.call("POST", f"/v1.41/containers/{made}/wait")
    clock.lap("wait")
    api.call("DELETE", f"/v1.41/containers/{made}")
    clock.lap("remove")


def exec_(api: Api, spans: Spans, container: str) -> None:
    """exec create, start with the output read to its end; a span each."""
    clock = Clock(spans)
    body = {"Cmd": ["true"], "AttachStdout": True, "AttachStderr": True}
    made = api.call("POST", f"/v1.41/containers/{container}/exec", body)["Id"]
    clock.lap("exec create")
    api.call("POST", f"/v1.41/exec/{made}/start", {"Detach": False, "Tty": False})
    clock.lap("exec start, output")


REST = 0.15  # seconds, as in run.py
REQUEST = re.compile(r'^(\d+\.\d+) send\w*\(\d+, .*"([A-Z]+) /v[\d.]+/([^ ?]*)')
MARK = re.compile(r"^(\d+\.\d+) (\w+)\(")


def command_spans(trace: str, spans: Spans) -> None:
    """From the client's system calls: from one request to the next."""
    marks: list[tuple[float, str]] = []
    for line in trace.splitlines():
        found = REQUEST.match(line)
        if found:
            marks.append((float(found[1]), f"{found[2]} {re.sub('[0-9a-f]{64}', 'ID', found[3])}"))
        elif (mark := MARK.match(line)) and (not marks or mark[2] in {"exit_group"}):
            marks.append((float(mark[1]), "client starts" if mark[2] == "execve" else mark[2]))
    for (start, name), (end, _) in itertools.pairwise(marks):
        spans.setdefault(name, []).append((end - start) * 1000)


def trace_command(engine: Minirund, spans: Spans, directory: str) -> None:
    words = engine.run_words("--rm", IMAGE, "true")
    options = ["--seccomp-bpf", "-f", "-ttt", "-s", "200", "-o", f"{directory}/trace"]
    engine.call(["/usr/bin/strace", *options, "-e", "trace=execve,sendto,sendmsg,exit_group", *words])
    lines = Path(f"{directory}/trace").read_text().splitlines()
    command_spans("\n".join(re.sub(r"^\d+ +", "", line) for line in lines), spans)


@contextmanager
def straced(engine: Minirund, path: str) -> Iterator[None]:
    """strace all of the daemon's processes meanwhile."""
    pids = ",".join(str(pid) for pid in engine.family())
    command = ["strace", "-f", "-ttt", "-T", "-y", "-s", "120", "-o", path, "-e", f"trace={CALLS}", "-p", pids]
    tracer = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    time.sleep(1)
    try:
        yield
    finally:
        time.sleep(0.3)
        tracer.terminate()
        tracer.wait()


def show(title: str, spans: Spans) -> None:
    print(title)
    for name, values in spans.items():
        print(f"  {statistics.median(values):8.2f} ms  {name}   (lowest {min(values):.2f}, {len(values)} times)")
    print(f"  {sum(statistics.median(values) for values in spans.values()):8.2f} ms  sum of the medians")


def measure(options: argparse.Namespace) -> int:
    """In the place."""
    disk = place.prepare(place.Place(*options.inside))
    archive = f"{disk}/busybox.tar"
    subprocess.run([HERE.parent / "scripts/make-busybox-image", "--output", archive], check=True)
    with Minirund(disk) as engine:
        engine.load(archive)
        api = engine.api()
        times(engine, api, options.runs)
        if options.strace:
            with straced(engine, options.strace):
                cycle(api, {})
                time.sleep(0.2)
                engine.call(engine.run_words("--rm", IMAGE, "true"))
        print(Path(engine.log).read_text()[-2000:])
    return 0


def times(engine: Minirund, api: Api, runs: int) -> None:
    cycle(api, {})
    show("Over the API, one kept-alive connection:", repeat(runs, lambda spans: cycle(api, spans)))
    container = engine.idle(1)[0]
    show("exec over the API:", repeat(runs, lambda spans: exec_(api, spans, container)))
    engine.remove([container])
    show("run --rm:", repeat(runs, lambda spans: trace_command(engine, spans, engine.directory)))


def repeat(runs: int, work: Callable[[Spans], None]) -> Spans:
    spans: Spans = {}
    for _ in range(runs):
        time.sleep(REST)
        work(spans)
    return spans


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="bench/trace.py", description=__doc__)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--strace", help="write a trace of one cycle and one command to this file")
    parser.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.inside:
        return place.first_process(lambda: measure(options))
    with place.outside("/var/tmp") as made:
        inside = [*arguments, "--inside", made.group, made.directory]
        return place.enter(made, [sys.executable, str(HERE / "trace.py"), *inside])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
