"""Events files of many cgroups, and one descriptor that says when one of them has changed.

    notices = Notices()
    notices.add("web", group.file("memory.events"))      # {"oom": 0, "oom_kill": 0, ...}
    select.select([notices], [], [])                     # or an event loop's add_reader
    for name, flags in notices.changed(): ...            # ("web", {"oom": 1, "oom_kill": 1, ...})

The kernel marks an events file with POLLPRI when it changes, until it is read. (It is always readable besides, so an
event loop that knows readable and writable alone would spin.) An epoll that waits for POLLPRI is itself readable when a
file of its has changed. Several changes that follow each other closely are told as one.

The object owns its descriptors, one a file; `close` gives them back. Source: the kernel's
Documentation/admin-guide/cgroup-v2.rst, epoll(7).
"""

import os
import select

from cgroups.files import pread_flags


class Notices:
    """Files by name, a name being whatever the caller likes."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._files: dict[str, int] = {}
        self._names: dict[int, str] = {}

    def fileno(self) -> int:
        """The descriptor that is readable when `changed` has something to say."""
        return self._epoll.fileno()

    def add(self, name: str, path: str) -> dict[str, int]:
        """Look at a file from now on, in place of the name's last one: what it says now. Raises OSError."""
        self.remove(name)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._epoll.register(fd, select.EPOLLPRI)
        except OSError:
            os.close(fd)
            raise
        self._files[name], self._names[fd] = fd, name
        return pread_flags(fd)

    def remove(self, name: str) -> None:
        """Look no more. An unknown name is fine."""
        fd = self._files.pop(name, None)
        if fd is not None:
            del self._names[fd]
            self._epoll.unregister(fd)  # closing does it too, but not while a child that is about to exec has it open
            os.close(fd)

    def changed(self) -> list[tuple[str, dict[str, int]]]:
        """The files that have changed since they were last read, and what they say; {} once: the cgroup has gone."""
        found = [(self._names[fd], pread_flags(fd)) for fd, _ in self._epoll.poll(0)]
        for name, flags in found:
            if not flags:
                self.remove(name)
        return found

    def close(self) -> None:
        """Give the descriptors back."""
        for name in tuple(self._files):
            self.remove(name)
        self._epoll.close()
