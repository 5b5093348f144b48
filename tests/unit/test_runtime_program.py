"""Which file is executed, and why not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from minirund.errors import StartFailed
from minirund.runtime.context import new_namespaces
from minirund.runtime.program import DEFAULT_PATH, locate, search_path
from minirund.runtime.security import bits, mask
from minirund.runtime.syscalls import CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWNS, CLONE_NEWPID


@pytest.fixture
def places(tmp_path: Path) -> str:
    """A PATH: the first directory has a file that is not executable, the second one that is, and a directory."""
    for name, mode in (("one/tool", 0o644), ("two/tool", 0o755), ("two/other", 0o755)):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    (tmp_path / "one/folder").mkdir()
    return f"{tmp_path}/none:{tmp_path}/one:{tmp_path}/two"


def test_the_first_that_can_be_executed(places: str, tmp_path: Path) -> None:
    assert locate("tool", places) == f"{tmp_path}/two/tool"
    assert locate(f"{tmp_path}/two/other", "") == f"{tmp_path}/two/other"


@pytest.mark.parametrize(
    ("name", "why", "code"),
    [
        ("folder", 'exec: "folder": executable file not found in $PATH', 127),
        ("nothing", 'exec: "nothing": executable file not found in $PATH', 127),
        ("{}/one/folder", 'exec: "{}/one/folder": is a directory: permission denied', 126),
        ("{}/one/tool", 'exec: "{}/one/tool": permission denied', 126),
        ("{}/no", 'exec: "{}/no": stat {}/no: no such file or directory', 127),
    ],
)
def test_refusals(places: str, tmp_path: Path, name: str, why: str, code: int) -> None:
    with pytest.raises(StartFailed) as caught:
        locate(name.replace("{}", str(tmp_path)), places)
    assert (str(caught.value), caught.value.exit_code) == (why.replace("{}", str(tmp_path)), code)


def test_a_relative_program_is_relative_to_the_cwd(
    places: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate("./two/tool", places) == "./two/tool"
    assert os.path.samefile(locate("tool", "one:two"), tmp_path / "two/tool")


def test_the_last_path_counts() -> None:
    assert search_path(["PATH=/a", "X=1", "PATH=/b"]) == "/b"
    assert search_path([]) == DEFAULT_PATH


def test_capability_masks() -> None:
    assert mask(["CAP_CHOWN", "CAP_KILL", "CAP_CHOWN"]) == 0b100001
    assert bits(0b100001) == [0, 5]
    with pytest.raises(StartFailed):
        mask(["CAP_NONSENSE"])


def test_namespaces_for_clone3() -> None:
    kinds = [{"type": "pid"}, {"type": "network"}, {"type": "cgroup"}, {"type": "ipc", "path": "/x"}]
    config = {"linux": {"namespaces": kinds}}
    assert new_namespaces(config, 0) == CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET
    assert new_namespaces(config, CLONE_NEWNET) == CLONE_NEWNS | CLONE_NEWPID
    assert not new_namespaces({}, 0) & CLONE_NEWCGROUP


def test_an_empty_path_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tool").touch(mode=0o755)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StartFailed, match="not found"):
        locate("tool", "")
