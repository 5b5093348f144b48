"""minirund, the daemon: the composition root. Options, then sockets, engine, API, in this order; and the way down.

    options + daemon.json ──▶ Settings ──▶ checks ──▶ sockets ──▶ Engine (starts the spawner) ──▶ app ──▶ serve

SIGTERM and SIGINT end it gently; containers, their output and their clients' streams go on in their shims, and the next
daemon finds them. kill -9 is no different but for the goodbye.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from minirund import __version__
from minirund.errors import MinirundError
from minirund.host import check_host, listening, listening_tcp, pidfile, raise_descriptors
from minirund.libc import few_arenas
from minirund.options import LEVELS, merged, parser, settings_from

if TYPE_CHECKING:
    from minirund.engine.settings import Settings
    from minirund.preload import Preload

log = logging.getLogger("minirund")


async def serve(settings: Settings, sockets: list[socket.socket], metrics: list[socket.socket]) -> None:
    """Engine and API, and /metrics alone on the sockets ``metrics``, until a signal. Raises EngineError.

    Imported here, after the checks: who is told "not root" need not wait for the engine.
    """
    gc.disable()  # until the start is over: what it makes, modules for the most part, stays
    from minirund.api.app import create_app
    from minirund.api.metrics import create_metrics_app
    from minirund.api.server import Server
    from minirund.engine.engine import Engine
    from minirund.preload import Preload
    from minirund.runtime.command import command

    engine = await Engine.open(settings, command)
    raise_descriptors()  # the spawner keeps what the daemon was given: containers inherit that
    preload = Preload()
    try:
        server, figures = Server(create_app(engine)), Server(create_metrics_app(engine))
        loop = asyncio.get_running_loop()

        def stop(name: str) -> None:
            log.info("%s: stopping; containers go on", name)
            engine.events.close()
            server.stop()
            figures.stop()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop, number.name)
        served = [figures.run_on(metrics)] if metrics else []
        await asyncio.gather(server.run_on(sockets, lambda: _ready(settings, metrics, preload)), *served)
    finally:
        preload.stop()
        await engine.close()


def _ready(settings: Settings, metrics: list[socket.socket], preload: Preload) -> None:
    gc.freeze()  # or it would all be looked at now; preload.py sees to it later
    gc.enable()
    preload.start()
    _tell_systemd("READY=1")
    log.info("minirund %s serves %s", __version__, ", ".join(settings.hosts))
    for listener in metrics:
        log.info("/metrics is served on %s port %s too", *listener.getsockname()[:2])


def _tell_systemd(state: str) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.connect("\0" + address[1:] if address.startswith("@") else address)
            out.send(state.encode())


def main(arguments: Sequence[str] | None = None) -> int:
    """The command ``minirund``: 0 after a gentle end, 1 if it can't run, with one line that says why."""
    options = parser().parse_args(arguments)
    return _reported(lambda: _run(options))


def _reported(work: Callable[[], None]) -> int:
    try:
        work()
    except MinirundError as error:
        print(f"minirund: {error}", file=sys.stderr)
        return 1
    return 0


def _run(options: argparse.Namespace) -> None:
    found = merged(options)
    settings = settings_from(found)
    logging.basicConfig(
        level=LEVELS[settings.log_level], stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    check_host(settings)
    few_arenas()
    with (
        pidfile(found.get("pidfile")),
        listening_tcp(settings.metrics_addr, "--metrics-addr") as metrics,
        listening(settings.hosts, found.get("group")) as sockets,
    ):
        asyncio.run(serve(settings, sockets, metrics))


if __name__ == "__main__":
    sys.exit(main())
