"""What a daemon has loaded when it answers its first request, and what it loads after that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LATER = {"fastapi", "pydantic", "pydantic_core", "annotated_types", "aiohttp"}
"""Each takes as long to import as the engine."""

STARTED = """
import asyncio, sys
import minirund.api.metrics, minirund.api.server, minirund.daemon, minirund.engine.engine, minirund.runtime.command
from minirund.api.app import create_app

async def ask(path):
    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [], "server": None}
    async def send(message): pass
    await app(scope, None, send)

app = create_app(None)
asyncio.run(ask("/_ping"))
print(*sys.modules)
"""


def test_a_daemon_answers_before_it_loads_what_is_heavy() -> None:
    shown = subprocess.run([sys.executable, "-c", STARTED], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(shown.stdout.split())
    assert "minirund.engine.runner" in loaded
    assert not LATER & loaded
