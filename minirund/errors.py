"""What can go wrong, as one tree. A class says who can mend it; one table gives it an HTTP status.

    MinirundError
    ├── InvalidArgument        the request is wrong: a bad value, an unknown option       400
    │   └── StartFailed        the container's own command or file system can't start     400
    ├── Unauthorized           a registry wants (other) credentials                       401
    ├── Forbidden              a registry, or a rule of ours, refuses                     403
    ├── NotFound               no such container, image, exec, network                    404
    ├── Conflict               it exists, but its state or its name is in the way         409
    ├── TooMany                a registry's rate limit, after all retries                 429
    ├── EngineError            the engine or the kernel failed; the message names what    500
    │   ├── StepFailed         a kernel step failed: which, with its errno and path       500
    │   ├── RegistryError      a registry answered something that it should not           500
    │   └── StorageFull        no space left where the store is                           500
    ├── NotSupported           known to Docker, not offered here or not by this host      501
    └── Unavailable            try again: the daemon is stopping, a process has gone      503

Every message is one line that names the thing and, where there is one, the way out. The libraries (cgroups, netns,
overlayfs) have trees of their own; the engine translates them where it calls them.
"""

from __future__ import annotations

import os


class MinirundError(Exception):
    """The root of the tree. ``str(error)`` is the line the user reads."""


class InvalidArgument(MinirundError):
    """The request can't be carried out as it stands."""


class Unauthorized(MinirundError):
    """Credentials are missing or not accepted."""


class Forbidden(MinirundError):
    """Refused, whoever asks again."""


class NotFound(MinirundError):
    """The thing named does not exist."""


class Conflict(MinirundError):
    """The thing exists, and its state or its name is in the way."""


class TooMany(MinirundError):
    """A rate limit was hit."""


class EngineError(MinirundError):
    """The engine, or the kernel under it, failed."""


class RegistryError(EngineError):
    """A registry broke the protocol, or can't be reached."""


class StorageFull(EngineError):
    """No space is left on the store's file system."""


class NotSupported(MinirundError):
    """Docker knows it; this host or this version of minirund does not."""


class Unavailable(MinirundError):
    """Not now; the same request may succeed later."""


class StepFailed(EngineError):
    """A kernel step failed. Crosses processes as the three fields (see ``wire.Failed``).

    ``step`` is what was being done, in the words of the system call (``mount /proc``); ``errno`` is the kernel's
    number, 0 when the failure was not a system call's; ``path`` is the path in question, or "".
    """

    def __init__(self, step: str, errno: int = 0, path: str = "") -> None:
        self.step, self.errno, self.path = step, errno, path
        why = os.strerror(errno).lower() if errno else ""
        super().__init__(": ".join(part for part in (step, path if path not in step else "", why) if part))


class StartFailed(InvalidArgument):
    """A container or exec can't start for a reason that lies in it. ``exit_code`` is 125, 126 or 127, as a shell's."""

    def __init__(self, message: str, exit_code: int = 125) -> None:
        self.exit_code = exit_code
        super().__init__(message)


HTTP_STATUS: dict[type[MinirundError], int] = {
    InvalidArgument: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooMany: 429,
    EngineError: 500,
    NotSupported: 501,
    Unavailable: 503,
}


def http_status(error: BaseException) -> int:
    """The HTTP status of an error: its own class's, else its nearest ancestor's, else 500."""
    return next((HTTP_STATUS[cls] for cls in type(error).__mro__ if cls in HTTP_STATUS), 500)
