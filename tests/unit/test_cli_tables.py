"""What lists print. Rows are answers of a dockerd; expected is what the docker command printed for them."""

from __future__ import annotations

import io
import json
import time
from typing import Any

import pytest

from minirund.cli import human, images, ps
from minirund.cli.events import line
from minirund.cli.failure import Failure
from minirund.cli.progress import Progress, bar
from minirund.cli.reference import canonical, split, with_tag
from minirund.cli.tables import align, show


def container(**changes: Any) -> dict[str, Any]:
    row = {
        "Id": "aef59b964a85945856de853ab932710c094a00b606b1e2d479cf7ff5fe762264",
        "Names": ["/aa"],
        "Image": "busybox",
        "ImageID": "sha256:84ec0c1bab5822d1347371b262a469fbefeac67ba20d23df72a6bd91fb8ee2ee",
        "Command": "sleep 100",
        "Created": int(time.time()) - 7200,
        "Ports": [],
        "Labels": {"a": "b", "a.b": "c"},
        "State": "running",
        "Status": "Up 2 hours",
        "NetworkSettings": {"Networks": {"none": {}}},
        "Mounts": [{"Type": "bind", "Source": "/a/very/long/directory", "Destination": "/mnt"}],
    }
    return row | changes


def listed(form: str, *rows: dict[str, Any], whole: bool = False, quiet: str = "", capsys: Any) -> str:
    show(form, ps.fields(whole=whole), ps._DEFAULT, rows, quiet=quiet)
    return str(capsys.readouterr().out)


def test_the_default_table(capsys: pytest.CaptureFixture[str]) -> None:
    other = container(
        Id="b" * 64,
        Names=["/longer_name"],
        Command="sh -c 'echo hello; sleep 1'",
        Ports=[{"PrivatePort": 80, "Type": "tcp"}],
    )
    assert listed("", container(), other, capsys=capsys) == (
        "CONTAINER ID   IMAGE     COMMAND                  CREATED       STATUS       PORTS     NAMES\n"
        'aef59b964a85   busybox   "sleep 100"              2 hours ago   Up 2 hours             aa\n'
        'bbbbbbbbbbbb   busybox   "sh -c \'echo hello; …"   2 hours ago   Up 2 hours   80/tcp    longer_name\n'
    )


def test_an_empty_table_has_its_headings(capsys: pytest.CaptureFixture[str]) -> None:
    head = "CONTAINER ID   IMAGE     COMMAND   CREATED   STATUS    PORTS     NAMES\n"
    assert listed("", capsys=capsys) == listed("table", capsys=capsys) == head


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("{{.Names}}", "aa\n"),
        ("{{.ID}}\\t{{.Image}}", "aef59b964a85\tbusybox\n"),
        (
            'table {{.ID}}\\t{{.Names}}\\t{{.Label "a.x-y"}}',
            "CONTAINER ID   NAMES     x y\naef59b964a85   aa        \n",
        ),
        ("table {{.Names}}", "NAMES\naa\n"),
        ("{{.Mounts}} {{.Networks}} {{.Labels}}", "/a/very/long/d… none a=b,a.b=c\n"),
        ('{{.Label "a.b"}} {{.LocalVolumes}} {{.State}}', "c 0 running\n"),
        ("{{upper .Names}} {{truncate .ID 3}}", "AA aef\n"),
    ],
)
def test_formats(form: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert listed(form, container(Labels={"a": "b", "a.b": "c"}), capsys=capsys) == text.replace(
        "a=b,a.b=c", "a.b=c,a=b"
    )


def test_ids_alone_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert listed("", container(), quiet="ID", capsys=capsys) == "aef59b964a85\n"
    assert listed("", container(), quiet="ID", whole=True, capsys=capsys) == container()["Id"] + "\n"


def test_json_rows_have_every_field(capsys: pytest.CaptureFixture[str]) -> None:
    printed = listed("json", container(Image="<x>"), capsys=capsys)
    assert "\\u003cx\\u003e" in printed
    assert json.loads(printed) | {"CreatedAt": "", "RunningFor": ""} == {
        "Command": '"sleep 100"',
        "CreatedAt": "",
        "ID": "aef59b964a85",
        "Image": "<x>",
        "Labels": "a.b=c,a=b",
        "LocalVolumes": "0",
        "Mounts": "/a/very/long/d…",
        "Names": "aa",
        "Networks": "none",
        "Platform": None,
        "Ports": "",
        "RunningFor": "",
        "Size": "0B",
        "State": "running",
        "Status": "Up 2 hours",
    }


def test_an_unknown_field_is_named_with_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Failure, match=r"<\.Nope>: can't evaluate field Nope; there are Command, CreatedAt, ID, "):
        listed("{{.Nope}}", container(), capsys=capsys)


def test_an_image_shown_by_its_id_is_shortened(capsys: pytest.CaptureFixture[str]) -> None:
    row = container(Image=container()["ImageID"])
    assert listed("{{.Image}}", row, capsys=capsys) == "84ec0c1bab58\n"
    assert listed("{{.Image}}", row, whole=True, capsys=capsys) == row["Image"] + "\n"


@pytest.mark.parametrize(
    ("row", "size"),
    [({}, "0B"), ({"SizeRw": 4, "SizeRootFs": 1982004}, "4B (virtual 1.98MB)"), ({"SizeRw": 1500}, "1.5kB")],
)
def test_sizes_of_a_container(row: dict[str, Any], size: str) -> None:
    assert ps.fields(whole=False)["Size"][1](row) == size


def test_a_command_with_quotes_is_a_go_string() -> None:
    assert ps.fields(whole=True)["Command"][1]({"Command": 'sh -c "x\\n\t"'}) == '"sh -c \\"x\\\\n\\t\\""'


def image(**changes: Any) -> dict[str, Any]:
    row = {"Id": "sha256:84ec0c1bab58" + "0" * 52, "Created": 0, "Size": 1982000, "Containers": -1, "SharedSize": -1}
    return row | {"RepoTags": ["busybox:latest"], "RepoDigests": []} | changes


@pytest.mark.parametrize(
    ("found", "digests", "names"),
    [
        (image(), False, [("busybox", "latest", "<none>")]),
        (
            image(RepoTags=["a:1", "localhost:5000/a:2"]),
            False,
            [("a", "1", "<none>"), ("localhost:5000/a", "2", "<none>")],
        ),
        (image(RepoTags=None, RepoDigests=None), False, [("<none>", "<none>", "<none>")]),
        (image(RepoTags=["<none>:<none>"], RepoDigests=["<none>@<none>"]), False, [("<none>", "<none>", "<none>")]),
        (image(RepoTags=[], RepoDigests=["a@sha256:x"]), False, [("a", "<none>", "sha256:x")]),
        (image(RepoDigests=["busybox@sha256:x"]), True, [("busybox", "latest", "sha256:x")]),
        (image(RepoDigests=["busybox@sha256:x"]), False, [("busybox", "latest", "<none>")]),
    ],
)
def test_rows_of_an_image(found: dict[str, Any], digests: bool, names: list[tuple[str, str, str]]) -> None:
    assert [row["names"] for row in images._rows(found, digests=digests, quiet=False)] == names


def test_images_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(images._rows(image(), digests=False, quiet=False))
    show("json", images.fields(whole=False), (), rows)
    found = json.loads(capsys.readouterr().out)
    assert (found["Size"], found["VirtualSize"], found["Digest"], found["CreatedSince"]) == (
        "1.98MB",
        "1.982MB",
        "<none>",
        "N/A",
    )


def test_columns() -> None:
    assert align([["A", "B", "C"], ["a" * 9, "b", "c"]]) == "A           B         C\naaaaaaaaa   b         c"
    assert align([["x"]]) == "x"
    assert align([]) == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "Less than a second"),
        (1, "1 second"),
        (59, "59 seconds"),
        (60, "About a minute"),
        (150, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_spans(seconds: float, text: str) -> None:
    assert human.span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0B"), (999, "999B"), (1000, "1kB"), (1982000, "1.98MB"), (10**15, "1PB")]
)
def test_sizes(count: int, text: str) -> None:
    assert human.size(count) == text


def test_binary_size() -> None:
    assert human.binary_size(25276502016) == "23.54GiB"


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ([], ""),
        ([("", 0, 80, "tcp")], "80/tcp"),
        ([("", 0, 81, "tcp"), ("", 0, 80, "tcp"), ("", 0, 83, "tcp")], "80-81/tcp, 83/tcp"),
        ([("0.0.0.0", 80, 80, "tcp"), ("::", 80, 80, "tcp")], "0.0.0.0:80->80/tcp, [::]:80->80/tcp"),
        ([("0.0.0.0", 8080, 80, "tcp")], "0.0.0.0:8080->80/tcp"),
        (
            [("0.0.0.0", 80, 80, "tcp"), ("0.0.0.0", 81, 81, "tcp"), ("", 0, 80, "udp")],
            "80/udp, 0.0.0.0:80-81->80-81/tcp",
        ),
    ],
)
def test_ports(published: list[tuple[str, int, int, str]], text: str) -> None:
    keys = ("IP", "PublicPort", "PrivatePort", "Type")
    rows = [{key: value for key, value in zip(keys, port, strict=True) if value} for port in published]
    assert human.ports(rows) == text


@pytest.mark.parametrize(
    ("name", "parts", "full"),
    [
        ("alpine", ("alpine", "", ""), "docker.io/library/alpine:latest"),
        ("a/b:1", ("a/b", "1", ""), "docker.io/a/b:1"),
        ("localhost/b", ("localhost/b", "", ""), "localhost/b:latest"),
        ("host:5000/b", ("host:5000/b", "", ""), "host:5000/b:latest"),
        ("quay.io/b:1@sha256:x", ("quay.io/b", "1", "sha256:x"), "quay.io/b:1@sha256:x"),
        ("docker.io/b", ("docker.io/b", "", ""), "docker.io/library/b:latest"),
        ("index.docker.io/library/b", ("index.docker.io/library/b", "", ""), "docker.io/library/b:latest"),
    ],
)
def test_names_of_images(name: str, parts: tuple[str, str, str], full: str) -> None:
    assert (split(name), canonical(name)) == (parts, full)


def test_the_tag_that_is_meant() -> None:
    assert [with_tag(name) for name in ("a", "a:1", "a@sha256:x", "h:1/a")] == [
        "a:latest",
        "a:1",
        "a@sha256:x",
        "h:1/a:latest",
    ]


def test_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    event = {"Type": "container", "Action": "start", "timeNano": 1_700_000_000_000_000_123}
    event |= {"Actor": {"ID": "abc", "Attributes": {"name": "web", "image": "busybox"}}}
    for zone, stamp in (("UTC", "2023-11-14T22:13:20.000000123Z"), ("XXX-5:30", "2023-11-15T03:43:20.000000123+05:30")):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        assert line(event) == f"{stamp} container start abc (image=busybox, name=web)"
    monkeypatch.undo()
    time.tzset()


class Terminal(io.StringIO):
    """Output that takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


MESSAGES = (
    {"status": "Pulling from library/x", "id": "latest"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "aaa"},
    {"status": "Pulling fs layer", "progressDetail": {}, "id": "bbb"},
    {"status": "Downloading", "progressDetail": {"current": 0, "total": 2000}, "id": "aaa"},
    {"status": "Downloading", "progressDetail": {"current": 1000, "total": 2000}, "id": "aaa"},
    {"status": "Pull complete", "progressDetail": {}, "id": "aaa"},
    {"status": "Digest: sha256:x"},
)


def test_progress_without_a_terminal_is_plain_lines() -> None:
    out = io.StringIO()
    progress = Progress(out)
    for message in MESSAGES:
        progress.show(message)
    assert out.getvalue().splitlines() == [
        "latest: Pulling from library/x",
        "aaa: Pulling fs layer",
        "bbb: Pulling fs layer",
        "aaa: Pull complete",
        "Digest: sha256:x",
    ]


def screen(text: str) -> list[str]:
    """What a terminal shows after this: carriage return, line feed, up, down and erase line are all that is used."""
    lines, row, at = [""], 0, 0
    while at < len(text):
        letter = text[at]
        if letter == "\x1b":
            end = next(place for place in range(at + 2, len(text)) if text[place].isalpha())
            count, command = text[at + 2 : end], text[end]
            if command == "K":
                lines[row] = ""
            else:
                row += int(count) * (1 if command == "B" else -1)
            at = end
        elif letter == "\n":
            row += 1
        elif letter != "\r":
            lines[row] += letter
        lines += [""] * (row + 1 - len(lines))
        assert row >= 0
        at += 1
    return lines


def test_progress_on_a_terminal_keeps_a_line_for_each_layer() -> None:
    out = Terminal()
    progress = Progress(out)
    for message in MESSAGES:
        progress.show(message)
    assert screen(out.getvalue()) == [
        "latest: Pulling from library/x",
        "aaa: Pull complete",
        "bbb: Pulling fs layer",
        "Digest: sha256:x",
        "",
    ]


def test_progress_reports_the_daemon_s_error() -> None:
    for message in ({"error": "no such thing"}, {"errorDetail": {"message": "no such thing"}}):
        with pytest.raises(Failure, match="no such thing"):
            Progress(io.StringIO()).show(message)


def test_bars() -> None:
    assert bar(500, 1000, 200) == "[" + "=" * 25 + ">" + " " * 24 + "]  500B/1kB"
    assert bar(1000, 1000, 200) == "[" + "=" * 50 + "]  1kB/1kB"
    assert bar(500, 1000, 80) == "500B/1kB"
    assert (bar(500, 0, 80), bar(0, 0, 80)) == ("500B", "")
