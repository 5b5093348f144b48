"""`stats`: what containers use, as a table that renews itself; with --why, what they wait for, in sentences.

Every container has a connection of its own, on which the daemon sends a reading a second. Reading one from each in turn
therefore takes a second for all of them together, and needs no threads.
"""

from __future__ import annotations

import sys

from minirund.cli.context import say
from minirund.cli.options import Command, Opt
from minirund.client import BrokenConnectionError, Client, quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from minirund.cli.context import Context
    from minirund.cli.options import Parsed
    from minirund.cli.tables import Fields

OPTIONS = (
    Opt("all", "bool", "Those that don't run, too", "a"),
    Opt("format", "string", "table, json, table TEMPLATE or TEMPLATE (Go's templates)"),
    Opt("no-stream", "bool", "Show one reading and stop"),
    Opt("no-trunc", "bool", "Show values whole"),
    Opt("why", "bool", "Say what each waits for, and why; then stop"),
)
_DEFAULT = ("ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs", "Pressure")
_NEVER = "0001-01-01T00:00:00Z"
_CLEAR = "\033[2J\033[H"


def stats(context: Context, args: Parsed) -> int:
    """Show figures, once or until ctrl-C."""
    from minirund.cli.tables import show

    for name in args.rest:
        context.client.get(f"/containers/{quote(name)}/json")  # a name that is none is refused before anything is shown
    form, known = args.text("format"), fields(whole=args.flag("no-trunc"))
    streams: dict[str, Iterator[Any]] = {}
    once = args.flag("no-stream") or args.flag("why")
    while True:
        _follow(context, args, streams)
        rows = _readings(streams, primed=once)
        if args.flag("why"):
            return _explain(rows)
        if not once and sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        show(form, known, _DEFAULT, rows)
        sys.stdout.flush()
        if once or (args.rest and not streams):
            return 0
        if not streams:
            _pause()


def _pause() -> None:
    import time

    time.sleep(1)


def _follow(context: Context, args: Parsed, streams: dict[str, Iterator[Any]]) -> None:
    """A stream for each container that is to be shown and has none yet."""
    names = args.rest
    if not names:
        query = {"all": args.flag("all") or None}
        names = [one["Id"] for one in context.client.get("/containers/json", query)]
        for gone in streams.keys() - set(names):
            del streams[gone]
    for name in names if not args.rest or not streams else ():
        if name not in streams:
            client = Client(context.host, context.client.version)
            query = {"stream": True, "why": args.flag("why") or None}
            streams[name] = client.request("GET", f"/containers/{quote(name)}/stats", query).values()


def _readings(streams: dict[str, Iterator[Any]], *, primed: bool) -> list[Any]:
    """One reading from each stream; ``primed``: one that has another before it, unless the container doesn't run."""
    rows = []
    for name, stream in tuple(streams.items()):
        try:
            row = next(stream)
            while primed and row["read"] != _NEVER and row["preread"] == _NEVER:
                row = next(stream)
            rows.append(row)
        except (StopIteration, BrokenConnectionError):
            del streams[name]
    return rows


def _explain(rows: Sequence[Any]) -> int:
    for row in rows:
        for sentence in row.get("waits_for") or ("the daemon doesn't say what it waits for",):
            say(f"{row['name'].removeprefix('/')}: {sentence}")
    return 0


def fields(*, whole: bool) -> Fields:
    """What a row can show."""
    from minirund.cli import human

    return {
        "Container": ("CONTAINER", lambda row: row["name"].removeprefix("/")),
        "ID": ("CONTAINER ID", lambda row: row["id"] if whole else human.short_id(row["id"])),
        "Name": ("NAME", lambda row: row["name"].removeprefix("/")),
        "CPUPerc": ("CPU %", lambda row: f"{cpu_percent(row):.2f}%"),
        "MemUsage": ("MEM USAGE / LIMIT", _memory),
        "MemPerc": ("MEM %", lambda row: f"{memory_percent(row):.2f}%"),
        "NetIO": ("NET I/O", _network),
        "BlockIO": ("BLOCK I/O", _blocks),
        "PIDs": ("PIDS", lambda row: str((row.get("pids_stats") or {}).get("current", 0))),
        "Pressure": ("PRESSURE", pressure),
    }


def cpu_percent(row: dict[str, Any]) -> float:
    """Percent of one CPU, from the two readings that a row holds."""
    now, before = row["cpu_stats"], row["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    host = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    return 100 * used / host * now.get("online_cpus", 1) if used > 0 and host > 0 else 0.0


def memory_used(row: dict[str, Any]) -> int:
    """Bytes, without the file cache that the kernel gives up first, as Docker counts."""
    memory = row.get("memory_stats") or {}
    usage, cache = memory.get("usage", 0), (memory.get("stats") or {}).get("inactive_file", 0)
    return int(usage - cache if cache < usage else usage)


def memory_percent(row: dict[str, Any]) -> float:
    """Of its limit."""
    limit = (row.get("memory_stats") or {}).get("limit", 0)
    return 100 * memory_used(row) / limit if limit else 0.0


def _memory(row: dict[str, Any]) -> str:
    from minirund.cli.human import binary_size

    return f"{binary_size(memory_used(row))} / {binary_size((row.get('memory_stats') or {}).get('limit', 0))}"


def _network(row: dict[str, Any]) -> str:
    from minirund.cli.human import size

    every = (row.get("networks") or {}).values()
    return " / ".join(size(sum(one[key] for one in every)) for key in ("rx_bytes", "tx_bytes"))


def _blocks(row: dict[str, Any]) -> str:
    from minirund.cli.human import size

    entries = row["blkio_stats"].get("io_service_bytes_recursive") or ()
    return " / ".join(size(sum(one["value"] for one in entries if one["op"].lower() == op)) for op in ("read", "write"))


def pressure(row: dict[str, Any]) -> str:
    """What was waited for most in the last ten seconds, and how much of the time: ``io 12%``."""
    shares = {name: one["some"]["avg10"] for name, one in (row.get("pressure_stats") or {}).items()}
    most = max(shares, key=lambda name: shares[name], default="")
    return f"{most} {shares[most]:.0f}%" if most and shares[most] >= 1 else "--"


COMMANDS = {"stats": Command(stats, "[CONTAINER...]", OPTIONS, takes="running")}
