"""Bundles for tests, and what runs them: the runtime's own spawner, driven as the daemon drives it.

    with Runtime() as runtime:
        bundle = make_bundle(directory, lower)
        bundle.config["hostname"] = "changed"
        result = runtime.run(bundle, "hostname")
        assert (result.code, result.stdout) == (0, b"changed\\n")

A bundle's root is an overlay of one shared lower directory (busybox) and a read-write layer of its own.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import select
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from containment import descriptors
from waiting import PATIENCE

from cgroups.cgroup import find_mount
from minirund import wire
from minirund.bundle import Bundle
from minirund.runtime.command import command
from minirund.runtime.spec import default_config
from overlayfs.mount import OverlayMount

BUSYBOX = "/bin/busybox"
PASSWD = "root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1::/usr/sbin:/bin/false\nuser:x:1000:1000::/home/user:/bin/sh\n"
GROUP = "root:x:0:\ndaemon:x:1:\naudio:x:29:user\nvideo:x:44:user,daemon\nuser:x:1000:\n"
numbers = itertools.count()


def make_rootfs(directory: Path) -> Path:
    """A root file system with all of busybox's commands, /etc/passwd and /etc/group."""
    for name in ("bin", "etc", "root", "tmp", "home/user", "var"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    (directory / "tmp").chmod(0o1777)
    (directory / "bin/busybox").write_bytes(Path(BUSYBOX).read_bytes())
    (directory / "bin/busybox").chmod(0o755)
    for name in subprocess.run([BUSYBOX, "--list"], check=True, capture_output=True, text=True).stdout.split():
        if name != "busybox":
            (directory / "bin" / name).symlink_to("busybox")
    (directory / "etc/passwd").write_text(PASSWD)
    (directory / "etc/group").write_text(GROUP)
    return directory


@dataclass
class TestBundle:
    """A bundle with its config still open to change."""

    __test__ = False
    id: str
    bundle: Bundle
    config: Any
    cgroup: str

    @property
    def upper(self) -> Path:
        """The read-write layer: what is put here is in the container."""
        return Path(self.bundle.rw_path) / "upper"

    def records(self) -> list[tuple[str, str, bytes]]:
        """(stream, tag, content) of the log."""
        lines = Path(self.bundle.log_path).read_bytes().split(b"\n")
        split = (line.split(b" ", 3) for line in lines if line)
        return [(stream.decode(), tag.decode(), content) for _time, stream, tag, content in split]

    def logged(self) -> bytes:
        """The output as the log has it."""
        return b"".join(text if tag == "P" else text + b"\n" for _stream, tag, text in self.records())


def make_bundle(directory: Path, lower: Path) -> TestBundle:
    """A bundle below ``directory`` with the default configuration, over the root file system ``lower``."""
    name = f"c{next(numbers)}"
    base = directory / name
    for each in ("bundle/rw/upper", "bundle/rw/work", "run"):
        (base / each).mkdir(parents=True)
    bundle = Bundle(str(base / "bundle"), str(base / "run"))
    cgroup = f"/{cgroup_parent()}/{name}"
    config = copy.deepcopy(default_config(cgroup))
    overlay = OverlayMount(str(lower.parent), (lower.name,), f"{bundle.rw_path}/upper", f"{bundle.rw_path}/work")
    config["minirund"]["rootfs"] = overlay.to_json()
    return TestBundle(name, bundle, config, f"{find_mount()}{cgroup}")


def cgroup_parent() -> str:
    """All cgroups of this test process lie below it."""
    return f"minirund-test-{os.getpid()}"


@dataclass
class Result:
    """How a container ended, and what it printed."""

    code: int
    stdout: bytes
    stderr: bytes
    failed: wire.Failed | None = None


@dataclass
class Stream:
    """A client's side of an attached connection: reads in a thread, so that nothing waits for the test."""

    sock: socket.socket
    framed: bool = True
    received: bytearray = field(default_factory=bytearray)
    thread: threading.Thread | None = None

    def start(self) -> Stream:
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        return self

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while data := self.sock.recv(65536):
                self.received += data

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def end_input(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def wait_for(self, text: bytes) -> None:
        """Until the text has come."""
        deadline = time.monotonic() + PATIENCE
        while text not in self.received:
            assert time.monotonic() < deadline, f"{text!r} did not come: {bytes(self.received)!r}"
            time.sleep(0.005)

    def finish(self) -> None:
        """Until the other side has closed."""
        assert self.thread is not None
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive(), "the stream was not closed"
        self.sock.close()

    def output(self, stream: int = 0) -> bytes:
        """What has come: of one stream, or (0) all."""
        if not self.framed:
            return bytes(self.received)
        return b"".join(data for number, data in frames(bytes(self.received)) if stream in (0, number))


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Docker's frames, taken apart."""
    while data:
        if len(data) < 8 or len(data) < 8 + struct.unpack(">BxxxI", data[:8])[1]:
            return  # its rest is still on the way
        stream, length = struct.unpack(">BxxxI", data[:8])
        yield stream, data[8 : 8 + length]
        data = data[8 + length :]


class Container:
    """A container that was launched: the daemon's end of its control connection."""

    def __init__(self, bundle: TestBundle, control: wire.Channel) -> None:
        self.bundle, self.control = bundle, control
        self.streams: list[Stream] = []
        self.heard: list[wire.Message] = []

    def next(self) -> wire.Message | None:
        """The shim's next message; None at the connection's end."""
        readable, _, _ = select.select([self.control], [], [], PATIENCE)
        assert readable, f"the shim said nothing more after {self.heard}"
        received = self.control.receive()
        if received is None:
            return None
        self.heard.append(received[0])
        return received[0]

    def until(self, *kinds: type[Any]) -> Any:
        """The next message of one of these types; those before it are in ``heard``."""
        while (message := self.next()) is not None:
            if isinstance(message, kinds):
                return message
        raise AssertionError(f"the connection ended without {kinds}: {self.heard}")

    def started(self) -> wire.Started:
        message = self.until(wire.Started, wire.Failed)
        assert isinstance(message, wire.Started), message
        return message

    def exited(self, release: bool = True) -> int:
        """Wait for the end."""
        code = self.until(wire.Exited).code
        if release:
            self.release()
        return int(code)

    def release(self) -> None:
        """Let the shim go, and see it close."""
        self.control.send(wire.Release())
        while self.next() is not None:
            pass
        self.control.close()

    def attach(self, **options: Any) -> Stream:
        """Another client."""
        attach = wire.Attach(**options)
        ours, theirs = socket.socketpair()
        self.control.send(attach, [theirs.fileno()])
        theirs.close()
        return Stream(ours, attach.framed).start()

    def exec(self, *args: str, attach: wire.Attach | None = None, exec_id: str = "e", **process: Any) -> Stream | None:
        """Run something more in it."""
        body = {"args": list(args), "env": ["PATH=/bin"], "cwd": "/", **process}
        if attach is None:
            self.control.send(wire.Exec(exec_id, body))
            return None
        ours, theirs = socket.socketpair()
        self.control.send(wire.Exec(exec_id, body, attach), [theirs.fileno()])
        theirs.close()
        return Stream(ours, attach.framed).start()

    def kill(self) -> int:
        self.control.send(wire.Signal(9))
        return self.exited()

    def reconnect(self) -> wire.State:
        """As a new daemon does."""
        self.control.close()
        self.control = wire.connect(self.bundle.bundle.shim_socket)
        state = self.next()
        assert isinstance(state, wire.State)
        return state

    def shim_pid(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while (pid := self.bundle.bundle.read_shim_pid()) is None:
            assert time.monotonic() < deadline, "no shim.pid"
            time.sleep(0.002)
        return pid


class Runtime:
    """A spawner of our own."""

    def __init__(self) -> None:
        self.channel, theirs = wire.Channel.pair()
        self.process = subprocess.Popen(command(theirs.fileno()), pass_fds=[theirs.fileno()])
        theirs.close()

    def __enter__(self) -> Runtime:
        return self

    def __exit__(self, *_: object) -> None:
        self.channel.close()
        self.process.wait(PATIENCE)
        with contextlib.suppress(OSError):
            os.rmdir(f"{find_mount()}/{cgroup_parent()}")

    def launch(
        self,
        bundle: TestBundle,
        *args: str,
        clients: tuple[wire.Attach | wire.Wait, ...] = (),
        netns: int = -1,
        reading: bool = True,
    ) -> Container:
        """Start it; ``clients`` are attached from the start, and become ``streams``, which read at once if asked to."""
        if args:
            bundle.config["process"]["args"] = list(args)
        bundle.bundle.write_config(bundle.config)
        ours, report = wire.Channel.pair()
        container = Container(bundle, ours)
        descriptors = [report.fileno()] + ([netns] if netns >= 0 else [])
        theirs = []
        for client in clients:
            here, there = socket.socketpair()
            theirs.append(there)
            stream = Stream(here, getattr(client, "framed", False))
            container.streams.append(stream.start() if reading else stream)
        descriptors += [each.fileno() for each in theirs]
        launch = wire.Launch(bundle.id, bundle.bundle.directory, bundle.bundle.run, netns >= 0, list(clients))
        self.channel.send(launch, descriptors)
        for each in (report, *theirs):
            each.close()
        return container

    def run(self, bundle: TestBundle, *args: str, stdin: bytes = b"") -> Result:
        """Run it to its end."""
        terminal = bool(bundle.config["process"].get("terminal"))
        attach = wire.Attach(stdin=True, framed=not terminal, unread=stdin.decode("latin-1"))
        container = self.launch(bundle, *args, clients=(attach,))
        stream = container.streams[0]
        stream.end_input()
        message = container.until(wire.Failed, wire.Exited)
        if isinstance(message, wire.Failed):
            stream.finish()
            while container.next() is not None:
                pass
            container.control.close()
            return Result(message.exit_code, stream.output(1), stream.output(2), message)
        container.release()
        stream.finish()
        return Result(message.code, stream.output(0 if terminal else 1), stream.output(2))

    def sh(self, bundle: TestBundle, script: str) -> Result:
        """Run a shell script in it."""
        return self.run(bundle, "/bin/sh", "-c", script)


def eventually(condition: Any, what: Any = "it did not come to pass") -> Any:
    """Wait until the condition holds; its value. ``what`` is said if it never does, or is asked then what to say."""
    deadline = time.monotonic() + PATIENCE
    while not (value := condition()):
        assert time.monotonic() < deadline, what() if callable(what) else what
        time.sleep(0.005)
    return value


def kinds(pid: int) -> list[str]:
    """What a process has open, but for this one's stderr."""
    names = descriptors(pid)
    names.remove(os.readlink("/proc/self/fd/2"))
    return sorted(name.partition(":[")[0] for name in names)
