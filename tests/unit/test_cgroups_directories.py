"""Directories that are made, marked, and removed by whoever made them: on a plain file system, which has marks too."""

import os
import threading
from pathlib import Path

import pytest

from cgroups.directories import KEPT, MADE, make, mark_of, remove_made

needs_marks = pytest.mark.skipif(os.geteuid() != 0, reason="a trusted attribute needs root")


@needs_marks
def test_what_is_made_is_marked_and_what_was_there_is_not(tmp_path: Path) -> None:
    make(f"{tmp_path}/a/b/c")
    assert [mark_of(f"{tmp_path}/{name}") for name in ("", "a", "a/b", "a/b/c")] == [None, MADE, MADE, MADE]
    make(f"{tmp_path}/a/b", KEPT)
    assert mark_of(f"{tmp_path}/a/b") == MADE


@needs_marks
def test_the_empty_ones_go_up_to_the_first_in_use(tmp_path: Path) -> None:
    make(f"{tmp_path}/a/b/c")
    (tmp_path / "a/other").mkdir()
    remove_made(f"{tmp_path}/a/b/c")
    assert [entry.name for entry in (tmp_path / "a").iterdir()] == ["other"]


@needs_marks
def test_a_directory_of_somebody_elses_stays(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    make(f"{tmp_path}/a/b/c/d")
    remove_made(f"{tmp_path}/a/b/c/d")
    assert (tmp_path / "a/b").exists() and not (tmp_path / "a/b/c").exists()


@needs_marks
def test_one_that_is_kept_goes_only_when_that_is_asked_for(tmp_path: Path) -> None:
    make(f"{tmp_path}/a", KEPT)
    remove_made(f"{tmp_path}/a")
    assert (tmp_path / "a").exists()
    remove_made(f"{tmp_path}/a", (KEPT, MADE))
    assert not (tmp_path / "a").exists()


def test_without_a_mark_nothing_is_removed(tmp_path: Path) -> None:
    remove_made(f"{tmp_path}/none")
    remove_made(str(tmp_path))
    assert tmp_path.exists()


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileExistsError):
        make(f"{tmp_path}/file")
    with pytest.raises(NotADirectoryError):
        make(f"{tmp_path}/file/below")


@needs_marks
def test_a_parent_that_others_remove_meanwhile_is_made_again(tmp_path: Path) -> None:
    """Two makers and removers of children of one parent: neither ever fails."""
    failed: list[OSError] = []

    def work(name: str) -> None:
        try:
            for _ in range(300):
                make(f"{tmp_path}/a/b/{name}")
                remove_made(f"{tmp_path}/a/b/{name}")
        except OSError as error:
            failed.append(error)

    workers = [threading.Thread(target=work, args=(name,)) for name in ("x", "y")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failed
    assert not list(tmp_path.iterdir())
