"""A container's run seen from the terminal: attach, wait, start, stream, exit code. Shared by run, start and attach.

::

    attach   (hijacked; the daemon hands the connection to the shim)
    wait     (sent before start, so that the end can't be missed; handed to the shim as well)
    start
    stream   until the shim closes, resizing on SIGWINCH or passing signals on
    code     from the answer to wait

From start on the daemon is not needed: it may die and come back, and nobody at this terminal sees it.
"""

from __future__ import annotations

import time

from minirund.cli.context import warn
from minirund.cli.failure import Failure
from minirund.cli.loop import Loop, Signals, die_of, signal_name
from minirund.cli.streams import Console
from minirund.cli.terminal import RawMode, is_terminal, key_bytes, window_size
from minirund.client import ApiError, BrokenConnectionError, ClientError, ConnectError
from minirund.lean import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from minirund.client import Client, Pending, Response

RESTART_PATIENCE = 30.0  # seconds that a daemon may take to come back before its answer is given up

_ENDING = ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM")
_PROXIED = (*_ENDING, "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGCONT")


def detach_keys(text: str) -> bytes:
    """The bytes of --detach-keys; ``Failure`` when there is no such key."""
    try:
        return key_bytes(text)
    except ValueError as error:
        raise Failure(str(error)) from None


class Session:
    """This terminal, joined to one target: ``/containers/ID`` or ``/exec/ID``.

    With a terminal (``tty``) stdin goes raw, SIGWINCH resizes, and signals that would end this process end it after
    the terminal is restored. Without one, ``proxy`` passes signals on to the container.
    """

    def __init__(
        self, client: Client, target: str, *, tty: bool, stdin: bool, keys: str = "", proxy: bool = False
    ) -> None:
        self._client = client
        self._target = target
        self._tty = tty
        self._stdin = stdin
        self._keys = detach_keys(keys) if tty and stdin else None
        self._proxy = proxy and not tty
        self._loop = Loop()

    def stream(self, response: Response, *, redraw: bool = False) -> bool:
        """Move bytes until the end; True when the user has detached."""
        console = Console(self._loop, response.take(), tty=self._tty, stdin=self._stdin, keys=self._keys)
        try:
            with RawMode(0, enabled=self._tty and self._stdin and is_terminal(0)):
                if self._tty:
                    self.resize(nudge=1 if redraw else 0)
                self._loop.run_until(console.done)
        finally:
            console.close()
        return console.detached

    def signals(self) -> Signals:
        """Catch what this session handles, for the length of a ``with``."""
        names = ("SIGWINCH", *_ENDING) if self._tty else _PROXIED if self._proxy else ()
        return Signals(self._loop, [getattr(signal, name) for name in names], self._signalled)

    def until_readable(self, response: Response, timeout: float | None = None) -> bool:
        """Serve signals until the answer's body comes in; False after ``timeout`` seconds of silence."""
        if response.has_buffered():
            return True
        arrived: list[int] = []
        self._loop.on(response.fileno(), arrived.append)
        try:
            return self._loop.run_until(lambda: bool(arrived), timeout)
        finally:
            self._loop.off(response.fileno())

    def resize(self, nudge: int = 0) -> None:
        """Tell the target how large this terminal is; ``nudge`` a little off first, to make a program redraw."""
        size = window_size()
        for extra in sorted({nudge, 0}, reverse=True) if size else ():
            rows, columns = size or (0, 0)
            self._send_aside("resize", {"h": rows + extra, "w": columns + extra})

    def _signalled(self, number: int) -> None:
        if number == signal.SIGWINCH:
            self.resize()
        elif self._tty:
            raise _Ended(number)
        else:
            self._send_aside("kill", {"signal": signal_name(number)})

    def _send_aside(self, action: str, query: dict[str, object]) -> None:
        """A request whose answer is read when it comes: a daemon that is slow or away must not stop the stream."""
        try:
            pending = self._client.begin("POST", f"{self._target}/{action}", query)
        except ConnectError:
            if action == "kill":
                warn(f"minirun: SIG{query['signal']} was not passed on: the daemon is away")
            return
        self._loop.on(pending.fileno(), lambda _: self._settle(pending))

    def _settle(self, pending: Pending) -> None:
        self._loop.off(pending.fileno())
        try:
            pending.answer().close()
        except ClientError:
            pending.close()


class _Ended(Exception):
    """A signal that ends this process, on its way out through everything that must be restored."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def ending_by_signal(action: Callable[[], int]) -> int:
    """Do it; when a signal ended it, everything is restored by now, and the process dies of that signal."""
    try:
        return action()
    except _Ended as ended:
        die_of(ended.number)
        return 128 + ended.number


def attach_query(streams: Sequence[str], keys: str = "") -> dict[str, object]:
    """The query of ``POST /containers/ID/attach`` for these of stdin, stdout, stderr."""
    return {"stream": True, **dict.fromkeys(streams, True), "detachKeys": keys or None}


def watch_container(
    client: Client,
    container: str,
    session: Session,
    *,
    query: dict[str, object],
    condition: str,
    start: Callable[[], None] | None = None,
) -> int | None:
    """Attach, wait, start, stream; the exit code, or None when the user has detached."""
    attach = client.begin("POST", f"/containers/{container}/attach", query, upgrade=True)
    wait = client.begin("POST", f"/containers/{container}/wait", {"condition": condition})
    try:
        attached, waiting = attach.answer(), wait.answer()
        with session.signals():
            if start is not None:
                _start(session, start, waiting, removed=condition == "removed")
            if session.stream(attached, redraw=start is None):
                return None
            return _exit_code(client, container, session, waiting)
    finally:
        attach.close()
        wait.close()


def _start(session: Session, start: Callable[[], None], waiting: Response, *, removed: bool) -> None:
    try:
        start()
    except ApiError:
        if removed:  # the daemon removes what could not start; leave when it has
            session.until_readable(waiting, timeout=5)
        raise


def _exit_code(client: Client, container: str, session: Session, waiting: Response) -> int:
    try:
        session.until_readable(waiting)
        return code_of(waiting.json())
    except BrokenConnectionError:
        return _code_after_restart(client, container)


def code_of(answer: Any) -> int:
    """The exit code in the answer to wait; ``Failure`` when it carries an error."""
    problem = (answer or {}).get("Error") or {}
    if problem.get("Message"):
        raise Failure(f"error waiting for container: {problem['Message']}", 125)
    return int(answer["StatusCode"])


def patiently(ask: Callable[[], Any]) -> Any:
    """Ask the daemon, again and again while it is away, for half a minute."""
    give_up = time.monotonic() + RESTART_PATIENCE
    while True:
        try:
            return ask()
        except (ConnectError, BrokenConnectionError):
            if time.monotonic() > give_up:
                raise
            time.sleep(0.1)


def _code_after_restart(client: Client, container: str) -> int:
    """The wait broke off with its daemon: ask the next one."""
    answer = patiently(lambda: client.post(f"/containers/{container}/wait", {"condition": "not-running"}))
    return code_of(answer)
