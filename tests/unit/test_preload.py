"""What is loaded once the daemon answers."""

from __future__ import annotations

import asyncio
import gc
import logging
import subprocess
import sys
from pathlib import Path

import pytest

from minirund import preload

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload, "SOON", 0.0)
    monkeypatch.setattr(preload, "BETWEEN", 0.0)


def load(*modules: str) -> None:
    async def whole() -> None:
        one = preload.Preload(modules)
        one.start()
        while one._next is not None:
            await asyncio.sleep(0.001)

    asyncio.run(whole())


def a_module(directory: Path, name: str, text: str = "") -> str:
    (directory / f"{name}.py").write_text(text)
    return name


def test_modules_come_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    first = a_module(tmp_path, "preload_first")
    second = a_module(tmp_path, "preload_second", "import sys\nassert 'preload_first' in sys.modules\n")
    try:
        load(first, second)
        assert {first, second} <= set(sys.modules)
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()


def test_one_that_fails_is_named_and_the_others_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    broken = a_module(tmp_path, "preload_broken", "raise OSError(5, 'Input/output error')")
    whole = a_module(tmp_path, "preload_whole")
    with caplog.at_level(logging.WARNING):
        load(broken, whole)
    gc.unfreeze()
    assert broken not in sys.modules
    assert whole in sys.modules
    assert [record.getMessage().split(" ")[0] for record in caplog.records] == [broken]


def test_none_comes_after_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    name = a_module(tmp_path, "preload_too_late")

    async def ended() -> None:
        one = preload.Preload([name])
        one.start()
        one.stop()
        await asyncio.sleep(0.01)

    asyncio.run(ended())
    assert name not in sys.modules


def test_what_is_named_is_there_to_be_loaded() -> None:
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    subprocess.run([sys.executable, "-c", code, *preload.MODULES], check=True, cwd=ROOT)
