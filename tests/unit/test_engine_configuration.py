"""What a container gets from the user, and what from its image. The cases are those of Docker's documentation of
CMD, ENTRYPOINT and docker run."""

from __future__ import annotations

import signal

import pytest

from minirund.engine.configuration import merge, parse_signal
from minirund.engine.records import Json
from minirund.errors import InvalidArgument

NONE: list[str] | None = None


@pytest.mark.parametrize(
    ("entrypoint", "command", "image_entrypoint", "image_command", "args"),
    [
        (NONE, NONE, NONE, ["sh"], ["sh"]),
        (NONE, ["ls"], NONE, ["sh"], ["ls"]),
        (NONE, NONE, ["e"], ["c"], ["e", "c"]),
        (NONE, ["mine"], ["e"], ["c"], ["e", "mine"]),
        (["mine"], NONE, ["e"], ["c"], ["mine"]),
        (["mine"], ["x"], ["e"], ["c"], ["mine", "x"]),
        ([""], NONE, ["e"], ["c"], []),
        ([""], ["x"], ["e"], ["c"], ["x"]),
        ([], NONE, ["e"], ["c"], ["c"]),
        ([], [], NONE, ["c"], ["c"]),
        (NONE, NONE, NONE, NONE, []),
    ],
)
def test_what_is_executed(
    entrypoint: list[str] | None, command: list[str] | None, image_entrypoint: list[str] | None,
    image_command: list[str] | None, args: list[str],
) -> None:  # fmt: skip
    config = {"Entrypoint": entrypoint, "Cmd": command}
    merged = merge(config, {"Entrypoint": image_entrypoint, "Cmd": image_command})
    assert [*(merged["Entrypoint"] or ()), *(merged["Cmd"] or ())] == args


@pytest.mark.parametrize(
    ("config", "image", "expected"),
    [
        ({"Env": ["A=1"]}, {"Env": ["PATH=/bin", "A=0"]}, {"Env": ["A=1", "PATH=/bin"]}),
        ({"Env": ["A"]}, {"Env": ["A=0"]}, {"Env": ["A"]}),
        ({}, {"Env": ["A=0"]}, {"Env": ["A=0"]}),
        ({"Labels": {"a": "1"}}, {"Labels": {"a": "0", "b": "0"}}, {"Labels": {"a": "1", "b": "0"}}),
        ({}, {"User": "u", "WorkingDir": "/w"}, {"User": "u", "WorkingDir": "/w"}),
        ({}, {"StopSignal": "INT"}, {"StopSignal": "INT"}),
        ({"User": "me"}, {"User": "u"}, {"User": "me"}),
        ({"Volumes": {"/a": {}}}, {"Volumes": {"/b": {}}}, {"Volumes": {"/a": {}, "/b": {}}}),
        ({}, {}, {"Volumes": None, "ExposedPorts": None, "Labels": {}, "Env": [], "User": ""}),
        ({"Tty": True}, {"Tty": False}, {"Tty": True}),
    ],
)  # fmt: skip
def test_the_rest(config: Json, image: Json, expected: Json) -> None:
    before = dict(config)
    merged = merge(config, image)
    assert {key: merged[key] for key in expected} == expected
    assert config == before


@pytest.mark.parametrize(
    ("text", "number"),
    [("SIGTERM", 15), ("term", 15), ("15", 15), ("KILL", 9), ("sigusr1", 10), ("RTMIN", signal.SIGRTMIN),
     ("RTMIN+3", signal.SIGRTMIN + 3), ("SIGRTMAX-1", signal.SIGRTMAX - 1), ("64", 64)],
)  # fmt: skip
def test_signals(text: str, number: int) -> None:
    assert parse_signal(text) == number


@pytest.mark.parametrize(
    "text", ["", "0", "65", "-9", "NOSUCH", "SIG_IGN", "_DFL", "TERM+1", "RTMIN+x", "RTMIN+99", "RTMAX+1", "9" * 5000,
             "²", "SIGSIGTERM"],
)  # fmt: skip
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(InvalidArgument, match="Invalid signal"):
        parse_signal(text)
