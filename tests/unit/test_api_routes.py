"""The API over an engine in memory: what each request is translated to, and what each answer looks like."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import os
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import docker
import pytest
import waiting
from api_engine import IMAGE, Served, served
from waiting import PATIENCE

from minirund.engine.lifecycle import Status
from minirund.engine.logs import LogRecord

until = partial(waiting.until, patience=10.0)

STAMP = "2026-01-02T03:04:05.000000006Z"


@pytest.fixture
def api(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path / "api.sock") as one:
        yield one


@pytest.fixture
def client(api: Served) -> Iterator[docker.DockerClient]:
    one = docker.DockerClient(api.url, version="1.47")
    yield one
    one.close()


class Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self.path))


def ask(api: Served, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any, dict[str, str]]:
    connection = Connection(api.path)
    data = json.dumps(body).encode() if body is not None and not isinstance(body, bytes) else body
    connection.request(method, path, data, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    found = {key.lower(): value for key, value in answer.getheaders()}
    with contextlib.suppress(ValueError):
        return answer.status, json.loads(text), found
    return answer.status, text, found


def create(api: Served, name: str = "x", **more: Any) -> str:
    status, answer, _ = ask(api, "POST", f"/containers/create?name={name}", {"Image": "busybox", **more})
    assert status == 201, answer
    return str(answer["Id"])


# ---- the frame around all requests


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("prefix", ["", "/v1.24", "/v1.47"])
def test_ping(api: Served, method: str, prefix: str) -> None:
    status, text, headers = ask(api, method, f"{prefix}/_ping")
    assert (status, text) == (200, "OK" if method == "GET" else "")
    assert headers["api-version"] == "1.47"
    assert headers["docker-experimental"] == "false"
    assert headers["ostype"] == "linux"
    assert headers["server"] == "minirund"
    assert headers["cache-control"] == "no-cache, no-store, must-revalidate"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/v1.99/_ping", "client version 1.99 is too new. Maximum supported API version is 1.47"),
        ("/v2.0/info", "client version 2.0 is too new. Maximum supported API version is 1.47"),
        ("/v1.12/_ping", "client version 1.12 is too old. Minimum supported API version is 1.24"),
    ],
)
def test_versions_that_are_not_spoken(api: Served, path: str, message: str) -> None:
    status, answer, headers = ask(api, "GET", path)
    assert (status, answer["message"][: len(message)]) == (400, message)
    assert headers["api-version"] == "1.47"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nope"), ("GET", "/containers/json/"), ("PATCH", "/containers/json"), ("POST", "/version"), ("GET", "/")],
)
def test_what_the_api_does_not_have(api: Served, method: str, path: str) -> None:
    assert ask(api, method, path)[:2] == (404, {"message": "page not found"})


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/volumes/create"), ("DELETE", "/volumes/v"), ("POST", "/build"), ("GET", "/swarm"), ("POST", "/auth"),
        ("POST", "/networks/create"), ("GET", "/images/busybox/get"), ("POST", "/images/a/b/push"),
        ("POST", "/plugins/pull"),
    ],
)  # fmt: skip
def test_what_this_version_does_not_offer_is_named(api: Served, method: str, path: str) -> None:
    status, answer, _ = ask(api, method, path)
    assert status == 501
    assert answer["message"].endswith("not offered by this version of minirund")


def test_what_cannot_be_made_is_not_there(api: Served) -> None:
    assert ask(api, "GET", "/volumes")[:2] == (200, {"Volumes": [], "Warnings": None})
    assert ask(api, "GET", "/volumes/v")[:2] == (404, {"message": "No such volume: v"})
    assert ask(api, "GET", "/plugins")[:2] == (200, [])
    assert ask(api, "GET", "/plugins/a/b/json")[:2] == (404, {"message": "No such plugin: a/b"})


def test_a_fault_is_one_line_for_the_user_and_a_traceback_in_the_log(
    api: Served, caplog: pytest.LogCaptureFixture
) -> None:
    status, answer, headers = ask(api, "GET", "/info")
    assert (status, answer) == (500, {"message": "internal error: RuntimeError: a fault"})
    assert headers["server"] == "minirund"
    logged = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [(record.getMessage(), bool(record.exc_info)) for record in logged] == [("GET /info failed", True)]
    assert ask(api, "GET", "/_ping")[0] == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"HostConfig": {"Memory": "lots"}}, "invalid value for HostConfig.Memory: lots: it should be a valid integer"),
        ({"HostConfig": {"Memory": True}}, "invalid value for HostConfig.Memory: true: it should be a valid integer"),
        ({"Env": "A=b"}, "invalid value for Env: A=b: it should be a valid list"),
        ({"Env": ["A=b", 5]}, "invalid value for Env[1]: 5: it should be a valid string"),
        ({"HostConfig": 5}, "invalid value for HostConfig: 5: it should be an object"),
        ({"Labels": {"a": None}}, "invalid value for Labels.a: null: it should be a valid string"),
        ({"Tty": "yes"}, "invalid value for Tty: yes: it should be a valid boolean"),
        ({"HostConfig": {"ConsoleSize": [1]}}, "invalid value for HostConfig.ConsoleSize: [1]: list should have"),
        ([], "invalid body: it should be an object"),
        (b"{'Image'", "invalid JSON: "),
        (b"", "invalid JSON: the request has no body"),
        (b'{"Image": "\xff"}', "invalid JSON"),
        (b"[" * 100_000, "invalid JSON"),
    ],
)  # fmt: skip
def test_bad_bodies_name_the_field(api: Served, body: Any, message: str) -> None:
    status, answer, _ = ask(api, "POST", "/containers/create", body)
    assert status == 400
    assert answer["message"].startswith(message)
    assert "\n" not in answer["message"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/containers/json?all=maybe", "invalid value for all: maybe: it is neither true (1) nor false (0)"),
        ("/containers/json?limit=ten", "invalid value for limit: ten: it is no whole number"),
        ("/containers/json?filters=[1]", "invalid filters: [1]: it is no JSON map of names to lists of values"),
        ("/containers/json?filters={", "invalid filters: {: it is no JSON map of names to lists of values"),
        ("/containers/x/logs", "Bad parameters: you must choose at least one stream"),
        ("/containers/x/logs?stdout=1&since=yesterday", "invalid value for since: yesterday: it is no time"),
        ("/events?since=5&until=4", "`since` time cannot be after `until` time"),
    ],
)
def test_bad_parameters_are_named(api: Served, path: str, message: str) -> None:
    create(api)
    assert ask(api, "GET", path)[:2] == (400, {"message": message})


def test_the_description_and_its_page(api: Served) -> None:
    status, described, _ = ask(api, "GET", "/openapi.json")
    assert status == 200
    post = described["paths"]["/containers/create"]["post"]
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ContainerCreate")
    assert "Memory" in described["components"]["schemas"]["HostConfig"]["properties"]
    assert described["paths"]["/containers/{ref}/json"]["get"]["responses"]["200"]["content"]
    status, page, headers = ask(api, "GET", "/docs")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "http" not in page.replace("http-equiv", "")  # nothing from elsewhere


# ---- containers


def test_create_passes_on_what_differs_from_the_defaults(api: Served) -> None:
    body = {
        "Image": "busybox", "Cmd": "sh", "Entrypoint": None, "Hostname": "", "Tty": True, "Env": None,
        "Nonsense": 1, "Zero": 0,
        "HostConfig": {"Memory": 0, "NetworkMode": "none", "Mounts": [{"Type": "bind", "Wrong": 1, "ReadOnly": False}]},
        "NetworkingConfig": {"EndpointsConfig": {"bridge": None, "other": {"Aliases": ["a"], "Odd": 2}}},
    }  # fmt: skip
    status, answer, _ = ask(api, "POST", "/v1.30/containers/create?name=x&platform=linux/amd64", body)
    assert status == 201
    assert answer["Warnings"] == [
        "unknown field ignored: Nonsense",
        "unknown field ignored: HostConfig.Mounts.Wrong",
        "unknown field ignored: NetworkingConfig.EndpointsConfig.Odd",
    ]
    config = {"Image": "busybox", "Cmd": ["sh"], "Tty": True}
    host = {"NetworkMode": "none", "Mounts": [{"Type": "bind"}]}
    networking = {"EndpointsConfig": {"bridge": None, "other": {"Aliases": ["a"]}}}
    assert api.engine.containers.calls == [("create", "x", config, host, networking, "linux/amd64")]


def test_long_names(api: Served) -> None:
    create(api, "n" * 60_000)
    assert api.engine.containers.calls[0][1] == "n" * 60_000
    with raw(api, f"GET /containers/{'n' * 65_536}/json HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        assert head_of(sock)[0] == "HTTP/1.1 400 Bad Request"
        assert json.loads(sock.recv(1000)) == {"message": "the request's URL is too long"}


def test_an_unknown_image(api: Served) -> None:
    answer = ask(api, "POST", "/containers/create", {"Image": "nope"})
    assert answer[:2] == (404, {"message": "No such image: nope:latest"})


def test_start_and_stop_say_when_there_was_nothing_to_do(api: Served) -> None:
    create(api)
    statuses = [ask(api, "POST", f"/containers/x/{verb}")[0] for verb in ("start", "start", "stop", "stop")]
    assert statuses == [204, 304, 204, 304]
    assert ask(api, "POST", "/containers/gone/start")[:2] == (404, {"message": "No such container: gone"})


def test_the_verbs(api: Served) -> None:
    create(api)
    for path in ("stop?t=-1&signal=INT", "restart?t=3", "kill", "kill?signal=9", "resize?h=5&w=6"):
        assert ask(api, "POST", f"/containers/x/{path}")[0] in {200, 204, 304}
    assert api.engine.containers.calls[1:] == [
        ("stop", "x", -1, "INT"), ("restart", "x", 3, None), ("kill", "x", "SIGKILL"), ("kill", "x", "9"),
        ("resize", 5, 6),
    ]  # fmt: skip
    assert ask(api, "POST", "/containers/x/pause")[0] == 409
    assert ask(api, "POST", "/containers/x/start")[0] == 204
    assert [ask(api, "POST", f"/containers/x/{verb}")[0] for verb in ("pause", "unpause")] == [204, 204]
    assert ask(api, "POST", "/containers/x/rename?name=y")[0] == 204
    assert ask(api, "POST", "/containers/y/rename")[0] == 400
    assert ask(api, "DELETE", "/containers/y")[0] == 409
    assert ask(api, "DELETE", "/containers/y?link=1")[0] == 501
    assert ask(api, "DELETE", "/containers/y?force=True&v=0")[0] == 204
    assert ask(api, "POST", "/containers/prune")[1] == {"ContainersDeleted": None, "SpaceReclaimed": 1000}


def test_looking_inside(api: Served) -> None:
    create(api)
    top = ask(api, "GET", "/containers/x/top?ps_args=aux")[1]
    assert top == {"Titles": ["PID", "CMD"], "Processes": [["1", "sh aux"]]}
    assert ask(api, "GET", "/containers/x/changes")[1][2] == {"Path": "/bin/gone", "Kind": 2}
    assert ask(api, "GET", "/containers/x/json?size=1")[1]["SizeRootFs"] == 4_000_012
    assert ask(api, "GET", "/containers/json?all=1&size=1")[1][0]["SizeRw"] == 12


def test_stats(api: Served) -> None:
    create(api)
    for query in ("stream=0", "stream=false&one-shot=true"):
        status, found, headers = ask(api, "GET", f"/containers/x/stats?{query}")
        assert (status, found["name"], headers["content-type"]) == (200, "/x", "application/json")
        assert "waits_for" not in found
    assert ask(api, "GET", "/containers/x/stats?stream=0&why=1")[1]["waits_for"] == ["does not run"]
    assert ask(api, "GET", "/containers/gone/stats?stream=0")[0] == 404
    status, error, _ = ask(api, "GET", "/containers/x/stats?one-shot=1")
    assert (status, error) == (400, {"message": "cannot have stream=true and one-shot=true"})
    assert ask(api, "GET", "/containers/x/stats?stream=maybe")[0] == 400


def test_watching_stats_ends_when_the_client_goes(api: Served, client: docker.DockerClient) -> None:
    create(api)
    frames = client.containers.get("x").stats(decode=True)
    assert [next(frames)["name"], next(frames)["name"]] == ["/x", "/x"]
    assert api.engine.stats.watchers == 1
    frames.close()
    until(lambda: api.engine.stats.watchers == 0)


def test_list_passes_on_its_filters_in_both_forms(api: Served) -> None:
    for filters in ('{"label":["a","b"]}', '{"label":{"a":true,"b":true,"c":false}}'):
        assert ask(api, "GET", f"/containers/json?all=1&limit=3&filters={filters}")[:2] == (200, [])
    assert api.engine.containers.calls == [("list", True, 3, {"label": ["a", "b"]})] * 2
    ask(api, "GET", "/containers/json?limit=-1&all=")
    assert api.engine.containers.calls[-1] == ("list", False, None, {})


# ---- connections that are handed over


def raw(api: Served, request: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(PATIENCE)
    sock.connect(str(api.path))
    sock.sendall(request.encode())
    return sock


def head_of(sock: socket.socket) -> tuple[str, dict[str, str]]:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += sock.recv(1)
    lines = data.decode().split("\r\n")
    return lines[0], {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:-2])}


UPGRADE = "Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"


@pytest.mark.parametrize(
    ("version", "tty", "kind"),
    [("1.47", False, "multiplexed"), ("1.41", False, "raw"), ("1.47", True, "raw")],
)
def test_attach_hands_the_connection_over(api: Served, version: str, tty: bool, kind: str) -> None:
    create(api, Tty=tty, OpenStdin=True)
    path = f"/v{version}/containers/x/attach?stream=1&stdin=1&stdout=1&logs=0&detachKeys=ctrl-a,b"
    with raw(api, f"POST {path} HTTP/1.1\r\n{UPGRADE}\r\ntyped ahead\xe9") as sock:
        status, headers = head_of(sock)
        assert status == "HTTP/1.1 101 UPGRADED"
        assert headers["content-type"] == f"application/vnd.docker.{kind}-stream"
        assert (headers["connection"], headers["upgrade"], headers["server"]) == ("Upgrade", "tcp", "minirund")
        until(lambda: bool(api.engine.containers.handed))
        wanted, descriptor = api.engine.containers.handed[0]
        assert (wanted.stdin, wanted.stdout, wanted.stderr, wanted.logs, wanted.stream) == (
            True,
            True,
            False,
            False,
            True,
        )
        assert (wanted.framed, wanted.detach_keys) == (not tty, "\x01b")
        assert wanted.unread.encode("latin-1").decode() == "typed ahead\xe9"
        os.write(descriptor, b"from the shim")
        assert sock.recv(100) == b"from the shim"


def test_attach_without_upgrade_is_a_plain_answer_that_goes_on(api: Served) -> None:
    create(api)
    with raw(api, "POST /containers/x/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        status, headers = head_of(sock)
        assert (status, headers["content-type"]) == ("HTTP/1.1 200 OK", "application/vnd.docker.raw-stream")
        until(lambda: bool(api.engine.containers.handed))
        assert api.engine.containers.handed[0][0].stdin is False  # the container has no standard input


def test_attach_refuses_before_the_connection_changes_hands(api: Served) -> None:
    create(api)
    create(api, "paused")
    api.engine.containers.change("paused", status=Status.PAUSED)
    for path, status in (("paused/attach", 409), ("gone/attach", 404), ("x/attach?detachKeys=ctrl-9", 400)):
        assert ask(api, "POST", f"/containers/{path}", None, Connection="Upgrade", Upgrade="tcp")[0] == status
    assert ask(api, "GET", "/containers/x/attach/ws")[0] == 501
    assert api.engine.containers.handed == []


def test_wait_answers_or_hands_over(api: Served) -> None:
    create(api)
    with raw(api, "POST /containers/x/wait?condition=next-exit HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        status, headers = head_of(sock)
        assert (status, headers["transfer-encoding"]) == ("HTTP/1.1 200 OK", "chunked")
        assert headers["connection"] == "close"
        until(lambda: bool(api.engine.containers.handed))
        assert api.engine.containers.handed[0][0] == "next-exit"
    api.engine.containers.end("x", 3)
    assert ask(api, "POST", "/containers/x/wait")[:2] == (200, {"StatusCode": 3})
    assert ask(api, "POST", "/containers/x/wait?condition=soon")[:2] == (400, {"message": 'invalid condition: "soon"'})
    assert ask(api, "POST", "/containers/gone/wait")[0] == 404


def test_docker_py_waits_over_a_connection_that_was_handed_over(api: Served, client: docker.DockerClient) -> None:
    create(api)
    api.loop.call_soon_threadsafe(lambda: api.loop.create_task(answer_wait(api)))
    assert client.containers.get("x").wait(condition="next-exit") == {"StatusCode": 7}
    assert client.ping()


async def answer_wait(api: Served) -> None:
    import asyncio  # noqa: PLC0415 - runs in the server's thread

    while not api.engine.containers.handed:
        await asyncio.sleep(0.01)
    _, descriptor = api.engine.containers.handed.pop()
    body = b'{"StatusCode":7}\n'
    os.write(descriptor, b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body))
    os.close(descriptor)


def test_exec(api: Served) -> None:
    create(api)
    status, answer, _ = ask(
        api, "POST", "/containers/x/exec", {"Cmd": ["cat", "-"], "AttachStdin": True, "AttachStdout": True, "User": "u"}
    )
    assert status == 201
    ident = answer["Id"]
    with raw(api, f'POST /exec/{ident}/start HTTP/1.1\r\n{UPGRADE}Content-Length: 13\r\n\r\n{{"Tty":false}}in') as sock:
        status_line, headers = head_of(sock)
        assert status_line == "HTTP/1.1 101 UPGRADED"
        assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
        until(lambda: bool(api.engine.execs.started))
        attach, descriptor, tty, size = api.engine.execs.started[0]
        assert (attach.stdin, attach.stdout, attach.stderr, attach.unread, tty, size) == (
            True,
            True,
            False,
            "in",
            False,
            None,
        )
        os.close(descriptor)
    inspected = ask(api, "GET", f"/exec/{ident}/json")[1]
    assert (inspected["Running"], inspected["ExitCode"], inspected["Pid"]) == (True, None, 77)
    assert inspected["ProcessConfig"] == {
        "tty": False, "entrypoint": "cat", "arguments": ["-"], "privileged": False, "user": "u"
    }  # fmt: skip
    assert ask(api, "POST", f"/exec/{ident}/start", {"Detach": True})[0] == 409
    assert ask(api, "POST", f"/exec/{ident}/resize?h=1&w=2")[0] == 200
    assert ask(api, "POST", f"/exec/{ident}/resize?h=1")[0] == 400
    assert ask(api, "POST", "/exec/nope/start", {})[:2] == (404, {"message": "No such exec instance: nope"})
    assert ask(api, "POST", "/containers/x/exec", {"Cmd": []})[:2] == (400, {"message": "No exec command specified"})


def test_a_detached_exec(api: Served) -> None:
    create(api)
    ident = ask(api, "POST", "/containers/x/exec", {"Cmd": ["true"], "Tty": True})[1]["Id"]
    assert ask(api, "POST", f"/exec/{ident}/start", {"Detach": True, "ConsoleSize": [2, 3]})[0] == 400
    assert ask(api, "POST", f"/exec/{ident}/start", {"Detach": True, "Tty": True, "ConsoleSize": [2, 3]})[0] == 200
    assert api.engine.execs.started == [(None, None, True, (2, 3))]


# ---- streams


def test_logs(api: Served) -> None:
    create(api)
    api.engine.containers.records = [LogRecord(1, STAMP, b"out\n"), LogRecord(2, STAMP, b"err")]
    status, text, headers = ask(api, "GET", "/containers/x/logs?stdout=1&stderr=1&tail=5&since=1.5&until=0")
    assert (status, text) == (200, "\x01\0\0\0\0\0\0\x04out\n\x02\0\0\0\0\0\0\x03err")
    assert headers["content-type"] == "application/vnd.docker.multiplexed-stream"
    assert api.engine.containers.calls[-1][1] == {
        "stdout": True, "stderr": True, "follow": False, "since": 1.5, "until": 0.0, "timestamps": False, "tail": 5
    }  # fmt: skip
    create(api, "tty", Tty=True)
    status, text, headers = ask(api, "GET", "/containers/tty/logs?stdout=1&timestamps=1")
    assert (text, headers["content-type"]) == (f"{STAMP} out\n{STAMP} err", "application/vnd.docker.raw-stream")
    assert ask(api, "GET", "/containers/gone/logs?stdout=1")[0] == 404


@pytest.mark.parametrize("leave", ["close", "half"])
def test_following_ends_when_the_client_goes(api: Served, leave: str) -> None:
    create(api)
    api.engine.containers.records = [LogRecord(1, STAMP, b"x" * 100)] * 5000
    for _ in range(20):
        with raw(api, "GET /containers/x/logs?follow=1&stdout=1 HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
            assert head_of(sock)[0] == "HTTP/1.1 200 OK"
            if leave == "half":
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(1 << 20):
                    pass
    until(lambda: api.engine.containers.log_readers == 0)
    until(lambda: not api.server or not api.server.server_state.tasks)


def test_a_plain_log_is_whole_though_the_client_has_ended_its_side(api: Served) -> None:
    create(api)
    api.engine.containers.records = [LogRecord(1, STAMP, b"x" * 1000)] * 2000
    with raw(api, "GET /containers/x/logs?stdout=1 HTTP/1.0\r\n\r\n") as sock:
        sock.shutdown(socket.SHUT_WR)
        received = 0
        while part := sock.recv(1 << 20):
            received += len(part)
    assert received > 2000 * 1008


def test_events(api: Served, client: docker.DockerClient) -> None:
    api.engine.events.past = [{"Type": "container", "Action": "start", "id": "5"}]
    stream = client.events(decode=True)
    assert next(iter(stream)) == api.engine.events.past[0]
    assert api.engine.events.readers == 1
    stream.close()
    until(lambda: api.engine.events.readers == 0)
    assert ask(api, "GET", "/events?since=1&until=2026-01-02T03:04:05.123456789Z")[1] == api.engine.events.past[0]


def test_a_stop_of_the_server_ends_streams(tmp_path: Path) -> None:
    with served(tmp_path / "s") as api, raw(api, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n") as sock:
        head_of(sock)
        api.stop()
        assert sock.recv(100) == b"0\r\n\r\n"
        assert sock.recv(100) == b""
        assert api.engine.events.readers == 0


# ---- images


def test_pull(api: Served) -> None:
    auth = base64.urlsafe_b64encode(b'{"username":"u\xc3\xbf?"}').decode().rstrip("=")
    status, text, _ = ask(api, "POST", "/images/create?fromImage=busybox&tag=latest", **{"X-Registry-Auth": auth})
    assert status == 200
    lines = [json.loads(line) for line in text.splitlines()]
    assert lines[1] == {"status": "Status: Downloaded newer image for busybox:latest"}
    assert api.engine.images.calls == [("pull", "busybox", "latest", None, {"username": "u\xff?"})]
    assert ask(api, "POST", "/images/create?fromImage=nope")[:2] == (404, {"message": "pull access denied for nope"})
    assert ask(api, "POST", "/images/create?fromSrc=-")[0] == 501
    assert ask(api, "POST", "/images/create?fromImage=busybox", **{"X-Registry-Auth": "%%"})[0] == 400


def test_a_pull_that_fails_on_its_way_says_so_in_its_last_line(api: Served, client: docker.DockerClient) -> None:
    api.engine.images.fail_late = True
    status, text, _ = ask(api, "POST", "/images/create?fromImage=busybox")
    assert status == 200
    message = "the layer is corrupt"
    assert json.loads(text.splitlines()[-1]) == {"errorDetail": {"message": message}, "error": message}


def test_load(api: Served) -> None:
    status, answer, _ = ask(api, "POST", "/images/load?quiet=1", b"x" * 3_000_000)
    assert (status, answer) == (200, {"stream": "Loaded image: busybox:latest (3000000)\n"})
    message = "this is no archive"
    told = {"errorDetail": {"message": message}, "error": message}
    assert ask(api, "POST", "/images/load", b"bad")[:2] == (200, told)  # as Docker does: clients look for it there


def test_images(api: Served, client: docker.DockerClient) -> None:
    (listed,) = ask(api, "GET", "/images/json")[1]
    assert (listed["RepoTags"], listed["Created"], listed["Labels"]) == (["busybox:latest"], 1_700_000_000, {"a": "b"})
    assert "VirtualSize" not in listed
    assert ask(api, "GET", "/v1.43/images/json")[1] == [listed | {"VirtualSize": listed["Size"]}]
    for name in ("busybox", "docker.io/library/busybox", "docker.io%2Flibrary%2Fbusybox"):
        inspected = ask(api, "GET", f"/images/{name}/json")[1]
        assert (inspected["Id"], inspected["RootFS"]["Layers"]) == (IMAGE.id, ["sha256:" + "4" * 64])
    assert inspected["Config"]["Cmd"] == ["sh"]
    assert (inspected["Architecture"], inspected["Comment"]) == ("amd64", "made by hand")
    assert ask(api, "GET", "/images/a/b/c/json")[0] == 404
    assert ask(api, "GET", "/images/busybox/history")[1][0]["CreatedBy"] == "ADD"
    assert ask(api, "POST", "/images/busybox/tag?repo=reg:5000/x&tag=1")[0] == 201
    assert api.engine.images.calls == [("tag", IMAGE.id, "reg:5000/x", "1")]
    assert ask(api, "POST", "/images/busybox/tag")[0] == 400
    assert ask(api, "DELETE", "/images/busybox:latest")[1] == [{"Untagged": "busybox:latest"}, {"Deleted": IMAGE.id}]
    assert ask(api, "POST", "/images/prune")[1] == {"ImagesDeleted": None, "SpaceReclaimed": 0}
    assert client.images.get("busybox").tags == ["busybox:latest"]


# ---- the rest


def test_system_and_networks(api: Served, client: docker.DockerClient) -> None:
    create(api)
    assert client.version()["ApiVersion"] == "1.47"
    used = client.df()
    assert (used["LayersSize"], len(used["Images"]), used["Volumes"]) == (5, 1, [])
    assert used["Images"][0]["Containers"] == 1
    assert [network.name for network in client.networks.list()] == ["bridge", "host"]
    assert [network["Name"] for network in ask(api, "GET", '/networks?filters={"name":["rid"]}')[1]] == ["bridge"]
    assert client.networks.get("host").id == "host" * 4
    assert ask(api, "GET", "/networks/nope")[:2] == (404, {"message": "network nope not found"})


def test_docker_py_goes_through_a_life(api: Served, client: docker.DockerClient) -> None:
    container = client.containers.create("busybox", ["true"], name="x", labels={"k": "v"}, environment={"A": "b"})
    assert (container.status, container.labels, container.name) == ("created", {"k": "v"}, "x")
    container.start()
    container.reload()
    assert container.status == "running"
    assert [one.name for one in client.containers.list()] == ["x"]
    container.stop(timeout=1)
    container.reload()
    assert (container.status, container.attrs["State"]["ExitCode"]) == ("exited", 137)
    container.remove()
    assert client.containers.list(all=True) == []


def test_two_hundred_requests_on_one_connection(api: Served) -> None:
    connection = Connection(api.path)
    for turn in range(200):
        connection.request("GET", "/containers/json" if turn % 2 else "/nope")
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == ((200 if turn % 2 else 404), True)
    connection.close()
