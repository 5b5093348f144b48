"""/metrics on an address of its own: one path, two methods. With a daemon: tests/api/test_metrics.py."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from minirund.api.metrics import create_metrics_app


def ask(method: str, path: str) -> tuple[int, bytes]:
    async def page() -> str:
        return "engine_up 1\n"

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    app = create_metrics_app(SimpleNamespace(metrics=SimpleNamespace(page=page)))
    asyncio.run(app({"type": "http", "method": method, "path": path, "headers": []}, receive, send))
    return sent[0]["status"], sent[1]["body"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200), ("HEAD", "/metrics", 200), ("POST", "/metrics", 405), ("DELETE", "/metrics", 405),
        ("GET", "/", 404), ("GET", "/metrics/", 404), ("GET", "/containers/json", 404),
        ("POST", "/containers/create", 404),
    ],
)  # fmt: skip
def test_one_path_and_two_methods(method: str, path: str, status: int) -> None:
    found, body = ask(method, path)
    assert found == status
    assert (body == b"engine_up 1\n") is (status == 200)
