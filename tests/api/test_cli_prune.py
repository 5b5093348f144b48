"""`prune`, `system df` and `history` of the minirun command, side by side with docker's on the same daemon."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from daemon import TAR, DaemonHost
from images import busybox, docker_archive, image

Y, N = "y\n", "n\n"
AGE = re.compile(r"\b(\d+ seconds?|Less than a second|About a minute)\b *")


@pytest.fixture
def things(host: DaemonHost) -> Iterator[DaemonHost]:
    """Two images that share a layer, one that no container uses; a container that runs, and two that have ended."""
    host.load_busybox()
    other = image(*busybox().tars, {"file": "x" * 3000})
    assert host.api("POST", "/images/load?quiet=1", docker_archive({"other:1": other}), TAR)[0] == 200
    host.cli("run", "-d", "--name", "runs", "busybox", "sleep", "1000")
    host.cli("run", "--name", "wrote", "busybox", "sh", "-c", "head -c 5000 /dev/zero > /file; rm /etc/passwd")
    host.cli("run", "--name", "ended", "busybox", "true")
    yield host
    host.remove_containers()


def alike(host: DaemonHost, *words: str, **options: str) -> str:
    """The same words to both commands must have the same answer, which is returned; ages, and so the widths of their
    columns, may differ by a second."""
    ours, theirs = host.cli(*words, **options), host.docker(*words, **options)
    texts = [re.sub(r" {3,}", "   ", AGE.sub("AGE ", one.stdout)).splitlines() for one in (ours, theirs)]
    assert texts[0] == texts[1]
    assert (ours.returncode, theirs.returncode) == (0, 0), ours.stderr + theirs.stderr
    return ours.stdout


def test_what_takes_space(things: DaemonHost) -> None:
    assert "Images          2         1" in alike(things, "system", "df")
    assert "RECLAIMABLE" in alike(things, "system", "df", "--format", "table {{.Type}}\t{{.Reclaimable}}")
    alike(things, "system", "df", "--format", "{{.Type}} {{.TotalCount}} {{.Active}} {{.Size}} {{.Reclaimable}}")
    assert "UNIQUE SIZE" in alike(things, "system", "df", "-v")
    done = things.cli("system", "df", "-v", "--format", "json")
    assert (done.returncode, done.stderr) == (1, "the verbose and the format options conflict\n")


def test_the_history_of_an_image(things: DaemonHost) -> None:
    for options in ((), ("--no-trunc",), ("-q",), ("-H=false",), ("--format", "{{.ID}} {{.CreatedBy}} {{.Size}}")):
        assert alike(things, "history", *options, "other:1")
        assert alike(things, "image", "history", *options, "busybox")
    done = things.cli("history", "none")
    assert (done.returncode, done.stderr) == (1, "Error response from daemon: No such image: none:latest\n")


def test_what_a_container_changed(things: DaemonHost) -> None:
    assert alike(things, "diff", "wrote") == "C /etc\nD /etc/passwd\nA /file\n"


ASKED = (
    ("container prune", N), ("container prune", ""), ("container prune", "yes\n"), ("image prune", N),
    ("image prune -a", N), ("system prune", N), ("system prune -a --volumes", N),
    ("system prune --filter until=24h --filter label=x", N),
)  # fmt: skip


def test_who_does_not_say_y_keeps_all(things: DaemonHost) -> None:
    before = things.api("GET", "/system/df")[1]
    for words, answer in ASKED:
        assert alike(things, *words.split(), input=answer).endswith("[y/N] "), words
    after = things.api("GET", "/system/df")[1]
    assert len(after["Containers"]) == len(before["Containers"]) == 3
    assert len(after["Images"]) == len(before["Images"]) == 2


@pytest.mark.parametrize("words", [("container", "prune"), ("container", "prune", "-f")])
def test_containers_are_pruned(things: DaemonHost, words: tuple[str, ...]) -> None:
    ended = set(things.cli("ps", "-aq", "--no-trunc", "-f", "status=exited").stdout.split())
    done = things.cli(*words, input=Y)
    lines = done.stdout.partition("[y/N] ")[2].splitlines() if "-f" not in words else done.stdout.splitlines()
    assert lines[0] == "Deleted Containers:"
    assert set(lines[1:3]) == ended and len(ended) == 2
    assert (lines[3], lines[4].partition(":")[0]) == ("", "Total reclaimed space")
    assert lines[4] != "Total reclaimed space: 0B"
    assert things.cli("ps", "-a", "--format", "{{.Names}}").stdout == "runs\n"
    assert things.cli(*words, input=Y).stdout.endswith("Total reclaimed space: 0B\n")


def test_images_are_pruned(things: DaemonHost) -> None:
    assert things.cli("image", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    lines = things.cli("image", "prune", "-af").stdout.splitlines()
    assert lines[:2] == ["Deleted Images:", "untagged: other:1"]
    assert all(line.startswith("deleted: sha256:") for line in lines[2:-2])
    assert lines[-1].startswith("Total reclaimed space: ") and lines[-1] != "Total reclaimed space: 0B"
    assert things.cli("images", "--format", "{{.Repository}}").stdout == "busybox\n"


def test_everything_is_pruned(things: DaemonHost) -> None:
    things.cli("rm", "-f", "runs")
    shown = things.cli("system", "prune", "-a", input=Y).stdout
    assert "Deleted Containers:\n" in shown and "Deleted Images:\nuntagged: " in shown
    assert things.cli("system", "df", "--format", "{{.TotalCount}}").stdout.split() == ["0"] * 4
    assert things.cli("system", "prune", "-f").stdout == "Total reclaimed space: 0B\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("container", "prune", "-f", "--filter", "colour=red"), "Error response from daemon: invalid filter 'colour'"),
        (
            ("system", "prune", "--volumes", "--filter", "until=1h"),
            'ERROR: The "until" filter is not supported with "--volumes"',
        ),
    ],
)
def test_what_is_refused(things: DaemonHost, words: tuple[str, ...], message: str) -> None:
    done = things.cli(*words)
    assert (done.returncode, done.stderr.strip()) == (1, message)
    assert len(things.api("GET", "/containers/json?all=1")[1]) == 3
