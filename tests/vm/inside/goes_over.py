"""A program that goes over every limit of a process and of a container's namespaces, and says as JSON what it met.

    goes_over.py SYSCTL ...

Each attempt is made in a child of its own, which answers by a pipe: an errno's name, or the signal that ended it.
tests/vm/test_vm_processes.py runs it in a container, as an ordinary user, with /dev/shm as its directory; stdlib only.
"""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
IPC_PRIVATE, IPC_CREAT = 0, 0o1000


class Attributes(ctypes.Structure):
    """struct mq_attr."""

    _fields_ = (("flags", ctypes.c_long), ("most", ctypes.c_long), ("size", ctypes.c_long), ("now", ctypes.c_long))


def failed(result: int) -> str:
    """The name of errno after a call of libc that answers -1; "nothing" if it was no failure."""
    return errno.errorcode[ctypes.get_errno()] if result == -1 else "nothing"


def nofile() -> str:
    found = -1
    try:
        while True:
            found = os.open("/dev/null", os.O_RDONLY)
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} at {found + 1}"


def nproc() -> str:
    """All processes of this user count: this one, its parent, and the children made here."""
    children: list[int] = []
    try:
        while True:
            child = os.fork()
            if not child:
                signal.pause()
            children.append(child)
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} at {len(children) + 2}"
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def fsize(heed: int = signal.SIG_IGN) -> str:
    signal.signal(signal.SIGXFSZ, heed)
    return filled("much")


def filled(name: str) -> str:
    """Write until no more is taken; a file's limit cuts the last write short, and refuses the next."""
    written = 0
    fd = os.open(name, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            written += os.write(fd, bytes(4096))
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} at {written}"


def shm() -> str:
    """Files of 64 KiB, so that none is beyond its own limit."""
    written = 0
    try:
        for number in range(64):
            with open(f"file{number}", "wb", buffering=0) as file:
                for _ in range(16):
                    written += file.write(bytes(4096)) or 0
    except OSError as error:
        return f"{errno.errorcode[error.errno or 0]} at {written}"
    return f"nothing at {written}"


def data() -> str:
    try:
        mmap.mmap(-1, 128 << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return "nothing"


def memlock() -> str:
    memory = mmap.mmap(-1, 1 << 20)
    return failed(LIBC.mlock(ctypes.byref(ctypes.c_char.from_buffer(memory)), ctypes.c_size_t(1 << 20)))


def stack() -> str:
    """The kernel lets the stack grow to where it is touched: 3 MiB below its end, and not 5."""
    (line,) = [line for line in Path("/proc/self/maps").read_text().splitlines() if line.endswith("[stack]")]
    end = int(line.split()[0].partition("-")[2], 16)
    for size in (3 << 20, 5 << 20):
        ctypes.memset(end - size, 0, 1)
    return "nothing"


def msgqueue() -> str:
    """Queues of five messages of 8 KiB each: 90,000 bytes are enough for two."""
    for number in range(9):
        attributes = Attributes(0, 5, 8192, 0)
        met = failed(LIBC.mq_open(b"/q%d" % number, os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(attributes)))
        if met != "nothing":
            return met
    return "nothing"


def msg_max() -> str:
    attributes = Attributes(0, 6, 128, 0)
    return failed(LIBC.mq_open(b"/six", os.O_CREAT | os.O_RDWR, 0o600, ctypes.byref(attributes)))


def rtprio() -> str:
    allowed = 0
    try:
        for allowed in range(1, 99):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(allowed))
    except OSError as error:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        return f"{errno.errorcode[error.errno or 0]} above {allowed - 1}"
    return "nothing"


def cpu() -> str:
    resource.setrlimit(resource.RLIMIT_CPU, (1, 30))
    while True:
        pass


def core() -> str:
    child = os.fork()
    if not child:
        os.abort()
    _, status = os.waitpid(child, 0)
    limit = resource.getrlimit(resource.RLIMIT_CORE)[0]
    sizes = [path.stat().st_size for path in Path().glob("core*")]
    return "a file within the limit" if os.WCOREDUMP(status) and 0 < max(sizes) <= limit else f"{status} {sizes}"


def shmmax() -> str:
    return failed(LIBC.shmget(IPC_PRIVATE, 65537, IPC_CREAT | 0o600))


def msgmax() -> str:
    queue = LIBC.msgget(IPC_PRIVATE, IPC_CREAT | 0o600)
    message = ctypes.create_string_buffer(b"\1" * 8, 8 + 4097)
    return failed(LIBC.msgsnd(queue, message, ctypes.c_size_t(4097), 0))


def port() -> str:
    for number in (2000, 1999):
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", number))
            except OSError as error:
                return f"{errno.errorcode[error.errno or 0]} below {number + 1}"
    return "nothing"


ATTEMPTS: dict[str, Callable[[], str]] = {
    "nofile": nofile,
    "nproc": nproc,
    "fsize": fsize,
    "fsize, the signal not ignored": lambda: fsize(signal.SIG_DFL),
    "data": data,
    "memlock": memlock,
    "stack": stack,
    "msgqueue": msgqueue,
    "rtprio": rtprio,
    "cpu, lowered to a second": cpu,
    "core": core,
    "shm": shm,
    "kernel.shmmax": shmmax,
    "kernel.msgmax": msgmax,
    "fs.mqueue.msg_max": msg_max,
    "net.ipv4.ip_unprivileged_port_start": port,
}


def outcome(attempt: Callable[[], str]) -> str:
    """What the attempt says, made in a child; or the name of the signal that ended the child."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        os.close(reader)
        try:
            said = attempt()
        except Exception as error:  # whatever it is, the test shows it
            said = repr(error)
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    said = os.read(reader, 4096).decode()
    os.close(reader)
    _, status = os.waitpid(child, 0)
    for path in Path().iterdir():
        path.unlink()
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else said


def main() -> None:
    met = {name: outcome(attempt) for name, attempt in ATTEMPTS.items()}
    texts = {name: Path("/proc/sys", name.replace(".", "/")).read_text().strip() for name in sys.argv[1:]}
    score = int(Path("/proc/self/oom_score_adj").read_text())
    limits = Path("/proc/self/limits").read_text()
    print(json.dumps({"met": met, "sysctls": texts, "limits": limits, "oom_score_adj": score}))


main()
