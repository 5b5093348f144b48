"""Messages between processes: whole, typed, of another version, too long for a datagram, with descriptors."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from minirund import wire
from minirund.wire import Channel, Message

MESSAGES: list[Message] = [
    wire.Attach(stdin=True, unread="\x00\xff", detach_keys=""), wire.Wait(removed=True), wire.Started(1, 2),
    wire.Launch("i", "/b", "/r", True, [wire.Attach(), wire.Wait()], True), wire.Failed("mount", 1, "/p", "m", 127),
    wire.Launch("i", "/b", "/r", outline={"linux": {"namespaces": [{"type": "pid"}]}}), wire.Go("i"), wire.Stop("i"),
    wire.Exec("e", {"args": ["x"], "type": "Wait", "env": []}, wire.Attach()), wire.ExecStarted("e", 3),
    wire.ExecFailed("e", "s"), wire.ExecExited("e", 1), wire.Exited(1, 2, True), wire.Resize(1, 2, "e"), wire.Signal(9),
    wire.Release(), wire.State(1, 2, wire.Exited(3, 4), {"e": -1}, {"e": 5}), wire.State(1, 2),
]  # fmt: skip


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_comes_as_it_went(message: Message) -> None:
    assert wire.decode(wire.encode(message)) == message


def test_every_message_is_tried() -> None:
    assert {type(message) for message in MESSAGES} == set(Message.__args__)


def test_other_versions_are_understood() -> None:
    assert wire.decode(b'{"v": 99, "type": "Signal", "number": 9, "new": {"type": "Unknown"}}') == wire.Signal(9)
    assert wire.decode(b'{"type": "Exited", "code": 1, "time": 2}') == wire.Exited(1, 2)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"1", b"[]", b'{"type": "Nonsense"}', b'{"type": "Signal"}', b'{"v": 1}', b"\xff", b'["Wait"]']
)
def test_nonsense_is_no_message(data: bytes) -> None:
    with pytest.raises(wire.ProtocolError, match="not a message"):
        wire.decode(data)


def test_descriptors_and_long_messages() -> None:
    before = len(os.listdir("/proc/self/fd"))
    ours, theirs = Channel.pair()
    with ours, Channel(theirs) as other:
        long = wire.Exec("e", {"env": ["A" * 300_000]})
        reading, writing = os.pipe()
        ours.send(long, [reading])
        os.close(reading)
        received = other.receive()
        assert received is not None and received[0] == long
        (copy,) = received[1]
        os.write(writing, b"x")
        assert os.read(copy, 1) == b"x" and not os.get_inheritable(copy)
        wire.close_all([copy, writing])
        ours.send(wire.Release())
        assert other.receive() == (wire.Release(), [])
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_end_and_descriptors_of_nonsense() -> None:
    ours, theirs = Channel.pair()
    with ours:
        reading, writing = os.pipe()
        before = len(os.listdir("/proc/self/fd"))
        socket.send_fds(theirs, [b"nonsense"], [reading])
        with pytest.raises(wire.ProtocolError):
            ours.receive()
        assert len(os.listdir("/proc/self/fd")) == before
        wire.close_all([reading, writing])
        theirs.close()
        assert ours.receive() is None
        with pytest.raises(BrokenPipeError):
            ours.send(wire.Release())


def test_a_path_of_any_length(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 200)
    deep.mkdir()
    path = str(deep / "shim.sock")
    with pytest.raises(FileNotFoundError):
        wire.connect(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with listener, wire.short_path(path) as name:
        listener.bind(name)
        listener.listen()
        with wire.connect(path) as channel:
            accepted, _ = listener.accept()
            channel.send(wire.Signal(1))
            with Channel(accepted) as other:
                assert other.receive() == (wire.Signal(1), [])


def test_messages_are_json() -> None:
    assert json.loads(wire.encode(wire.Signal(9))) == {"v": wire.VERSION, "type": "Signal", "number": 9}


def test_a_frame() -> None:
    assert wire.frame(2, b"text") == b"\x02\0\0\0\0\0\0\x04text"
