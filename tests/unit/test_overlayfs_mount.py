"""Mount descriptions: what the option string says, when it is too long, and what importing the module costs."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from overlayfs.errors import MountTooLong, OverlayError
from overlayfs.mount import OverlayMount, create_rw, describe, escape


@dataclass(frozen=True)
class Linked:
    link: str


LAYERS = [Linked("aaa"), Linked("bbb"), Linked("ccc")]
EXTRA = ",index=off,metacopy=off,redirect_dir=off"


def test_writable() -> None:
    mount = describe("/layers", LAYERS, "/c/rw")
    assert mount.cwd == "/layers/l"
    assert mount.lower == ("ccc", "bbb", "aaa")
    assert mount.options() == "lowerdir=ccc:bbb:aaa,upperdir=/c/rw/upper,workdir=/c/rw/work" + EXTRA


def test_readonly_shows_what_was_written() -> None:
    mount = describe(Path("/layers"), LAYERS, Path("/c/rw"), readonly=True)
    assert mount.options() == "lowerdir=/c/rw/upper:ccc:bbb:aaa" + EXTRA


@pytest.mark.parametrize(
    ("layers", "rw", "lower"),
    [
        ([], None, ("empty", "empty2")),
        ([], "/rw", ("empty",)),
        (LAYERS[:1], None, ("aaa", "empty2")),
        (LAYERS[:1], "/rw", ("aaa",)),
    ],
)
def test_the_kernel_wants_some_lower_directory(layers: list[Linked], rw: str | None, lower: tuple[str, ...]) -> None:
    assert describe("/layers", layers, rw).lower == lower


def test_a_containers_mount_points_are_below_its_layers() -> None:
    assert describe("/layers", LAYERS[:1], "/rw", points=True).lower == ("aaa", "points")
    assert describe("/layers", [], "/rw", points=True).lower == ("points",)
    assert describe("/layers", [], points=True).lower == ("points", "empty2")


def test_a_container_with_as_many_layers_as_the_kernel_takes_has_to_make_its_own_mount_points() -> None:
    most = [Linked(f"{number:03}") for number in range(500)]
    assert describe("/layers", most[:-1], "/rw", points=True).lower[-2:] == ("000", "points")
    assert describe("/layers", most, "/rw", points=True).lower[-1] == "000"


def test_options_of_ones_own() -> None:
    assert describe("/l", LAYERS, "/rw", extra=("userxattr",)).options().endswith("workdir=/rw/work,userxattr")


def test_escaping() -> None:
    assert escape("a,b:c\\d") == "a\\,b\\:c\\\\d"
    mount = OverlayMount("/", ("x:y", "z"), "/a,b/upper", "/a,b/work", ())
    assert mount.options() == "lowerdir=x\\:y:z,upperdir=/a\\,b/upper,workdir=/a\\,b/work"


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_no_path(path: str) -> None:
    with pytest.raises(OverlayError):
        escape(path)


def test_json() -> None:
    for mount in (describe("/layers", LAYERS, "/rw"), describe("/layers", LAYERS)):
        assert OverlayMount.from_json(mount.to_json()) == mount
    assert OverlayMount.from_json({"cwd": "/", "lower": ["a", "b"]}).upper is None
    with pytest.raises(KeyError):
        OverlayMount.from_json({"cwd": "/"})


def test_one_page() -> None:
    names = [Linked(f"{number:04x}") for number in range(500)]
    assert len(describe("/layers", names, "/rw").options()) < 4096
    with pytest.raises(MountTooLong, match="501 layers"):
        describe("/layers", [*names, Linked("x")], "/rw").options()
    with pytest.raises(MountTooLong) as caught:
        describe("/layers", names, "/" + "x" * 2000).options()
    assert caught.value.length > caught.value.limit == 4095


def test_bytes_count_not_characters() -> None:
    describe("/layers", [Linked("é" * 1900)], extra=()).options()
    with pytest.raises(MountTooLong):
        describe("/layers", [Linked("é" * 2048)], extra=()).options()


def test_create_rw(tmp_path: Path) -> None:
    for _ in range(2):
        create_rw(tmp_path / "rw")
    assert os.stat(tmp_path / "rw/upper").st_mode == 0o40755
    assert os.stat(tmp_path / "rw/work").st_mode == 0o40700


def test_a_cheap_import() -> None:
    code = "import sys, overlayfs.mount; print(*sorted(name for name in sys.modules if name in sys.argv))"
    unwanted = ["isal", "zstandard", "hashlib", "ctypes", "threading", "overlayfs.layer", "json", "tarfile"]
    shown = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path.insert(0, {os.getcwd()!r}); {code}", *unwanted],
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout.strip() == ""
