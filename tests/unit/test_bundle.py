"""A bundle's files: written by one process, read by another, torn by a crash."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from minirund.bundle import Bundle, start_time
from minirund.libc import few_arenas, watch_file
from minirund.wire import Exited


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return Bundle(str(tmp_path), str(tmp_path))


def test_config(bundle: Bundle) -> None:
    bundle.write_config({"hostname": "ä"})
    assert bundle.read_config() == {"hostname": "ä"}


def test_the_end(bundle: Bundle) -> None:
    assert bundle.read_exit() is None
    bundle.write_exit(Exited(137, 5, True, 2, {"e": 3}))
    assert bundle.read_exit() == Exited(137, 5, True, 2, {"e": 3})
    assert os.listdir(bundle.directory) == ["exit.json"]
    bundle.clear_exit()
    bundle.clear_exit()
    assert bundle.read_exit() is None


def test_the_end_on_a_full_disk(tmp_path: Path) -> None:
    """Another directory takes it: it is there for the next daemon, and cleared before the next start."""
    (tmp_path / "run").mkdir()
    bundle = Bundle("/dev/full", str(tmp_path / "run"))  # a device, so that nothing can be written below it
    bundle.write_exit(Exited(7, 5, False))
    assert bundle.read_exit() == Exited(7, 5, False)
    assert os.listdir(bundle.run) == ["exit.json"]
    Bundle(str(tmp_path), bundle.run).clear_exit()
    assert os.listdir(bundle.run) == []
    with pytest.raises(OSError, match=r"exit\.json"):
        Bundle("/dev/full", "/dev/full").write_exit(Exited(7, 5, False))


@pytest.mark.parametrize("torn", ["", "{", "{}", "[]", '{"code": 1}', '{"code": "x", "time": 1, "oom": false}'])
def test_a_torn_end_is_none(bundle: Bundle, torn: str) -> None:
    Path(bundle.exit_path).write_text(torn)
    assert bundle.read_exit() is None


def test_the_shim_is_that_very_process(bundle: Bundle) -> None:
    assert bundle.read_shim_pid() is None
    bundle.write_shim_pid(os.getpid())
    assert bundle.read_shim_pid() == os.getpid()
    Path(bundle.shim_pid).write_text(f"{os.getpid()} {start_time(os.getpid()) + 1}\n")
    assert bundle.read_shim_pid() is None  # the number was used again
    with subprocess.Popen(["true"]) as process:
        gone = process.pid
    Path(bundle.shim_pid).write_text(f"{gone} 1\n")
    assert bundle.read_shim_pid() is None
    Path(bundle.shim_pid).write_text("nonsense")
    assert bundle.read_shim_pid() is None


def test_start_times_of_processes_with_odd_names(tmp_path: Path) -> None:
    odd = tmp_path / "a) b ("
    odd.symlink_to("/bin/sleep")
    with subprocess.Popen([str(odd), "60"]) as process:
        assert start_time(process.pid) >= start_time(os.getpid())
        process.kill()
    with pytest.raises(OSError, match="No such file"):
        start_time(process.pid)


def test_a_watch_can_be_read_once_the_file_has_grown(tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("")
    descriptor = watch_file(str(file))
    with pytest.raises(BlockingIOError):
        os.read(descriptor, 1000)
    file.write_text("x")
    assert os.read(descriptor, 1000)
    os.close(descriptor)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        watch_file(f"{tmp_path}/none")
    assert len(os.listdir("/proc/self/fd")) == before


def test_malloc_takes_the_word() -> None:
    few_arenas(1)
