"""In a whole machine: the figures of containers, and that `stats --why` names the limit that holds one back.

Each container here is really held back: by its CPU quota, by its memory limit, by its rate of writing. The figures that
a machine without cgroup v2's controllers has are tested in tests/api/test_stats.py.
"""

from __future__ import annotations

import json
import re
import time
from typing import Any

from daemon import UnixConnection
from guest import IMAGE, SOCKET, minirun

SHARE = r"\d+% of the time"
SECONDS = 40
"""How long one may take to come to its limit: dozens of times what it should."""


def api(method: str, path: str, body: dict[str, Any] | None = None) -> Any:
    connection = UnixConnection(SOCKET)
    try:
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return json.loads(text or b"null")
    finally:
        connection.close()


def why(name: str, wanted: str) -> None:
    """Ask until the answer has the sentence: what it waits for may come and go from second to second."""
    sentence = re.compile(rf"^{re.escape(name)}: {wanted}", re.MULTILINE)
    deadline, said = time.monotonic() + SECONDS, ""
    while not sentence.search(said):
        assert time.monotonic() < deadline, f"{sentence.pattern} not in {said}"
        said = minirun("stats", "--why", name)


def test_memory_is_shown_with_its_limit(name: str) -> None:
    fill = "dd if=/dev/zero of=/dev/shm/x bs=1M count=20 2>/dev/null && echo filled && exec sleep 600"
    minirun("run", "-d", "--name", name, "--memory", "64m", IMAGE, "sh", "-c", fill)
    deadline = time.monotonic() + SECONDS
    while "filled" not in minirun("logs", name):
        assert time.monotonic() < deadline
    shown = minirun("stats", "--no-stream", "--format", "{{.MemUsage}} {{.MemPerc}} {{.PIDs}}", name).strip()
    used, percent, processes = re.fullmatch(r"([\d.]+)MiB / 64MiB ([\d.]+)% (\d+)", shown).groups()  # type: ignore[union-attr]
    assert 20 <= float(used) < 64
    assert 20 / 64 * 100 <= float(percent) < 100
    assert processes == "1"


def test_a_quota_throttles_and_is_named(name: str) -> None:
    minirun("run", "-d", "--name", name, "--cpus", "0.2", IMAGE, "sh", "-c", "while :; do :; done")
    why(name, rf"waits for CPU {SHARE}: throttled by its limit of 0\.2 CPUs \(in \d+ of \d+ periods\)$")
    counted = api("GET", f"/containers/{name}/stats?stream=0")["cpu_stats"]["throttling_data"]
    assert 0 < counted["throttled_periods"] <= counted["periods"]
    assert counted["throttled_time"] > 0


def test_the_memory_limit_is_named(name: str) -> None:
    """Ten of sixteen MiB can't be taken back, and a file of 32 MiB is read again and again through the rest."""
    read = """
        dd if=/dev/zero of=/big bs=1M count=32 && dd if=/dev/zero of=/dev/shm/x bs=1M count=10
        while :; do cat /big /big >/dev/null & cat /big /big >/dev/null; done
    """
    minirun("run", "-d", "--name", name, "--memory", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", read)
    why(name, rf"waits for memory {SHARE}: (at|near) its limit of 16MiB, it uses [\d.]+MiB, ")


def test_the_rate_of_a_device_is_named(name: str) -> None:
    write = "while :; do dd if=/dev/zero of=/file bs=64k count=64 oflag=direct; done"
    rate = {"Path": "/dev/vda", "Rate": 1 << 20}
    host = {"BlkioDeviceWriteBps": [rate]}
    api("POST", f"/containers/create?name={name}", {"Image": IMAGE, "Cmd": ["sh", "-c", write], "HostConfig": host})
    minirun("start", name)
    why(name, rf"waits for I/O {SHARE}: held to its limit of 1MiB/s for writing on vda")
    written = sum(
        one["value"]
        for one in api("GET", f"/containers/{name}/stats?stream=0")["blkio_stats"]["io_service_bytes_recursive"]
        if one["op"] == "write"
    )
    assert written >= 1 << 20
