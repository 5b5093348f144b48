"""The HTTP client against a socket whose other end is scripted byte by byte: framing, reuse, hijacking, refusal."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE, until

from minirund.client import (
    ApiError,
    BrokenConnectionError,
    Client,
    ConnectError,
    query_string,
    quote,
    socket_path,
)
from minirund.lean import dumps, loads

Talk = Callable[[socket.socket], None]


def request_of(peer: socket.socket) -> bytes:
    """One request as it came: head, and a body of Content-Length or chunks."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = peer.recv(65536)
        if not piece:
            return data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    if b"chunked" in head:
        while not body.endswith(b"0\r\n\r\n"):
            body += peer.recv(65536)
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += peer.recv(65536)
    return head + b"\r\n\r\n" + body


class Server:
    """Accepts one connection after the other and lets each be talked to by the next function of a script."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.requests: list[bytes] = []
        self.connections = self.closed = 0
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(self.path)
        self._listening.listen(8)
        self._threads: list[threading.Thread] = []
        self._clients: list[Client] = []

    def script(self, *talks: Talk) -> Client:
        thread = threading.Thread(target=self._serve, args=(talks,), daemon=True)
        thread.start()
        self._threads.append(thread)
        self._clients.append(Client(f"unix://{self.path}"))
        return self._clients[-1]

    def _serve(self, talks: tuple[Talk, ...]) -> None:
        for talk in talks:
            peer, _ = self._listening.accept()
            self.connections += 1
            with peer:
                talk(peer)
            self.closed += 1

    def answers(self, *answers: bytes) -> Talk:
        """Read a request, send an answer, and again; then close."""

        def talk(peer: socket.socket) -> None:
            for answer in answers:
                self.requests.append(request_of(peer))
                peer.sendall(answer)

        return talk

    def close(self) -> None:
        self._listening.close()
        for client in self._clients:
            client.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "s")
    yield server
    server.close()


def sized(body: bytes, status: str = "200 OK", more: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{more}\r\n".encode() + body


def chunked(*chunks: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"


def test_a_request_on_the_wire(server: Server) -> None:
    client = server.script(server.answers(sized(b"{}"), sized(b'{"Id":"x"}')))
    assert client.get("/info", {"all": True, "limit": None, "filters": {"name": ["a b"]}}) == {}
    assert client.post("/containers/create", {"name": "n"}, {"Image": "ä"}) == {"Id": "x"}
    client.close()
    assert server.requests[0] == (
        b"GET /v1.47/info?all=1&filters=%7B%22name%22%3A%5B%22a%20b%22%5D%7D HTTP/1.1\r\n"
        b"Host: minirund\r\nUser-Agent: minirun\r\n\r\n"
    )
    head, _, body = server.requests[1].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /v1.47/containers/create?name=n HTTP/1.1\r\n")
    assert b"\r\nContent-Type: application/json\r\nContent-Length: 18" in head
    assert body == b'{"Image":"\\u00e4"}'


def test_a_connection_is_used_again(server: Server) -> None:
    no_content = b"HTTP/1.1 204 No Content\r\n\r\n"
    client = server.script(server.answers(sized(b"1"), chunked(b"2"), no_content, sized(b"4")))
    assert [client.get("/a"), client.get("/b"), client.post("/c"), client.get("/d")] == [1, 2, None, 4]
    client.close()
    assert server.connections == 1


def test_a_connection_that_the_daemon_has_closed_is_not_used_again(server: Server) -> None:
    client = server.script(server.answers(sized(b"1")), server.answers(sized(b"2")))
    assert client.get("/a") == 1
    until(lambda: server.closed == 1)
    assert client.get("/b") == 2
    assert server.connections == 2


def test_connection_close_is_heeded(server: Server) -> None:
    client = server.script(server.answers(sized(b"1", more="Connection: close\r\n")), server.answers(sized(b"2")))
    assert [client.get("/a"), client.get("/b")] == [1, 2]


def test_a_body_without_length_ends_with_the_connection(server: Server) -> None:
    client = server.script(server.answers(b"HTTP/1.1 200 OK\r\n\r\nabc"))
    assert client.request("GET", "/x").read() == b"abc"


@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_answers_cut_anywhere(server: Server, step: int) -> None:
    whole = b"HTTP/1.1 100 Continue\r\n\r\n" + chunked(b'{"a":1}\n{"b"', b":2}\n", b'{"c":3}')

    def talk(peer: socket.socket) -> None:
        request_of(peer)
        for at in range(0, len(whole), step):
            peer.sendall(whole[at : at + step])

    client = server.script(talk)
    assert list(client.request("GET", "/events").values()) == [{"a": 1}, {"b": 2}, {"c": 3}]


def test_lines_come_before_the_answer_is_complete(server: Server) -> None:
    go_on = threading.Event()

    def talk(peer: socket.socket) -> None:
        request_of(peer)
        whole = chunked(b'{"n":1}\n', b'{"n":2}\n')
        cut = whole.index(b'8\r\n{"n":2}')
        peer.sendall(whole[:cut])
        assert go_on.wait(PATIENCE)
        peer.sendall(whole[cut:])

    values = server.script(talk).request("GET", "/events").values()
    assert next(values) == {"n": 1}
    go_on.set()
    assert list(values) == [{"n": 2}]


def test_a_hijacked_connection_comes_with_what_was_read_behind_the_head(server: Server) -> None:
    def talk(peer: socket.socket) -> None:
        server.requests.append(request_of(peer))
        peer.sendall(b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nearly")
        assert peer.recv(100) == b"typed"
        peer.sendall(b"late")

    client = server.script(talk)
    pending = client.begin("POST", "/containers/x/attach", {"stdin": True}, upgrade=True)
    taken, early = pending.answer().take()
    taken.sendall(b"typed")
    assert (early, taken.recv(100), taken.recv(100)) == (b"early", b"late", b"")
    taken.close()
    assert b"Connection: Upgrade\r\nUpgrade: tcp\r\n" in server.requests[0]


def test_a_body_of_pieces_is_sent_chunked(server: Server) -> None:
    client = server.script(server.answers(sized(b"{}")))
    client.request("POST", "/images/load", None, iter([b"abc", b"", b"d" * 20])).read()
    client.close()
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    assert b"Transfer-Encoding: chunked" in head
    assert body == b"3\r\nabc\r\n14\r\n" + b"d" * 20 + b"\r\n0\r\n\r\n"


def test_a_refusal_during_the_upload_is_still_read(server: Server) -> None:
    def talk(peer: socket.socket) -> None:
        peer.recv(10)
        peer.sendall(sized(b'{"message":"too large"}', "413 Too Large"))
        peer.shutdown(socket.SHUT_RDWR)

    client = server.script(talk)
    with pytest.raises(ApiError, match="too large"):
        client.request("POST", "/images/load", None, (b"x" * 65536 for _ in range(1000)))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sized(b'{"message":"No such container: x"}', "404 Not Found"), "No such container: x"),
        (sized(b"plain words", "404 Not Found"), "plain words"),
        (sized(b"", "404 Not Found"), "status 404"),
        (sized(b'["x"]', "404 Not Found"), '["x"]'),
    ],
)
def test_a_refusal(server: Server, answer: bytes, message: str) -> None:
    with pytest.raises(ApiError) as caught:
        server.script(server.answers(answer)).get("/x")
    assert (caught.value.status, caught.value.message) == (404, message)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "the daemon closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-", "the daemon closed the connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}", "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "broke off in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", "the daemon closed the connection"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "does not speak HTTP"),
    ],
)
def test_a_broken_answer(server: Server, answer: bytes, message: str) -> None:
    with pytest.raises(BrokenConnectionError, match=message):
        server.script(server.answers(answer)).get("/x")


def test_no_daemon(tmp_path: Path) -> None:
    with pytest.raises(ConnectError) as caught:
        Client(f"unix://{tmp_path}/none").get("/x")
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, f"{tmp_path}/none")
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(f"{tmp_path}/dead")
    dead.close()
    with pytest.raises(ConnectError) as caught:
        Client(f"unix://{tmp_path}/dead").get("/x")
    assert caught.value.errno == errno.ECONNREFUSED


@pytest.mark.parametrize("host", ["tcp://1.2.3.4:2375", "/run/x.sock", "unix://", "unix:/run/x"])
def test_an_address_of_another_kind(host: str) -> None:
    with pytest.raises(ValueError, match="unable to parse host"):
        socket_path(host)


def test_quoting() -> None:
    assert quote("a/b:c@d é~") == "a%2Fb%3Ac%40d%20%C3%A9~"
    assert quote("a/b:c", b"/:") == "a/b:c"
    assert quote("\udcff") == "%FF"
    assert query_string({"a": True, "b": False, "c": None, "d": 3, "e": ["x"]}) == "?a=1&b=0&d=3&e=%5B%22x%22%5D"
    assert query_string({}) == ""


@pytest.mark.parametrize("value", [None, True, 0, -1.5, 'é"\\\n\x00😀', [1, [2]], {"a": {"b": []}}, 1 << 70])
def test_json_there_and_back(value: object) -> None:
    assert loads(dumps(value)) == value


def test_json_as_it_is_written() -> None:
    assert dumps({"a": [1, True, None, "é"]}) == '{"a":[1,true,null,"\\u00e9"]}'
    assert loads(b' {"a": 1e3, "b": "\\u00e9"}\r\n') == {"a": 1000.0, "b": "é"}


@pytest.mark.parametrize("text", ["", "{", "[1,]", "{} {}", "nope", '"\\q"'])
def test_not_json(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_only_data_can_be_written() -> None:
    with pytest.raises(TypeError, match="set has no JSON form"):
        dumps({1, 2})
