"""What a daemon has loaded when it answers its first request, and what it loads after that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
LATER = {
    *("fastapi", "pydantic", "annotated_types", "aiohttp", "isal", "zstandard", "urllib.request"),
    *("minirund.api.schemas.base", "minirund.engine.incoming", "minirund.registry.client", "overlayfs.extract"),
}

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


PRELOADED = """
import importlib, sys
import minirund.api.app, minirund.api.metrics, minirund.api.server, minirund.daemon, minirund.engine.engine
from minirund import preload
for name in preload.MODULES:
    importlib.import_module(name)
print(*sys.modules)
"""
DESCRIPTION = {"minirund.api.describe", "minirund.api.schemas.images", "minirund.api.schemas.stats",
               "minirund.api.schemas.system"}  # fmt: skip


def test_what_is_loaded_soon_after_is_all_that_a_daemon_uses() -> None:
    """But for what only the description needs, in its own process."""
    shown = subprocess.run([sys.executable, "-c", PRELOADED], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = set(shown.stdout.split())
    ours = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for part in ("engine", "api", "registry")
        for path in (ROOT / "minirund" / part).rglob("*.py")
    }
    assert ours - loaded == DESCRIPTION
