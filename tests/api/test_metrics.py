"""/metrics of a live daemon, read by Prometheus' own parser."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest
from daemon import DaemonFailed, DaemonHost
from prometheus_client.parser import text_string_to_metric_families as parse

Samples = dict[tuple[str, str], float]
"""{(name, the value of the label that tells them apart): value}."""


def page(host: DaemonHost) -> str:
    connection = host.connection()
    connection.request("GET", "/metrics")
    answer = connection.getresponse()
    text = answer.read().decode()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/plain; version=0.0.4; charset=utf-8")
    connection.close()
    return text


def engine(host: DaemonHost) -> Samples:
    """The engine's own figures, by name and by the state or the bucket."""
    return {
        (one.name, one.labels.get("state") or one.labels.get("le") or ""): one.value
        for family in parse(page(host))
        for one in family.samples
        if one.name.startswith("engine_daemon_")
    }


def start(host: DaemonHost, name: str, *command: str) -> str:
    ident = host.api("POST", f"/containers/create?name={name}", {"Image": "busybox", "Cmd": [*command]})[1]["Id"]
    assert host.api("POST", f"/containers/{ident}/start")[0] == 204
    return str(ident)


@pytest.fixture(autouse=True)
def clean(host: DaemonHost) -> None:
    host.remove_containers()


def test_the_engine_counts_starts_states_and_events(host: DaemonHost) -> None:
    before = engine(host)
    start(host, "runs", "sleep", "600")
    start(host, "frozen", "sleep", "600")
    host.api("POST", "/containers/frozen/pause")
    host.api("POST", "/containers/create?name=rests", {"Image": "busybox", "Cmd": ["/nope"]})
    assert host.api("POST", "/containers/rests/start")[0] == 400  # failed: not counted
    after = engine(host)
    states = "engine_daemon_container_states_containers"
    assert [after[states, state] for state in ("running", "paused", "stopped")] == [1, 1, 1]
    actions = "engine_daemon_container_actions_seconds"
    assert after[f"{actions}_count", ""] - before[f"{actions}_count", ""] == 2
    assert after[f"{actions}_sum", ""] > before[f"{actions}_sum", ""]
    assert after[f"{actions}_bucket", "+Inf"] == after[f"{actions}_count", ""]
    assert after["engine_daemon_events_total", ""] - before["engine_daemon_events_total", ""] >= 6
    host.remove_containers()


def test_a_container_that_runs_has_figures_and_one_that_does_not_has_none(host: DaemonHost) -> None:
    ident = start(host, "busy", "sh", "-c", "while :; do :; done")
    host.api("POST", "/containers/create?name=rests", {"Image": "busybox"})
    about = {"id": ident, "name": "busy", "image": "busybox"}
    found = {
        one.name: one
        for family in parse(page(host))
        for one in family.samples
        if one.name.startswith("container_")
    }  # fmt: skip
    assert all(about.items() <= one.labels.items() for one in found.values())
    assert found["container_cpu_usage_seconds_total"].value > 0
    assert found["container_network_transmit_bytes_total"].labels["interface"] == "eth0"
    host.remove_containers()
    assert "\ncontainer_" not in page(host)


def test_collectors_at_once_and_containers_that_come_and_go(host: DaemonHost) -> None:
    """None finds half a page, or a container that has gone in the middle of it."""
    pages: list[str] = []
    threads = [threading.Thread(target=lambda: pages.extend(page(host) for _ in range(10))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(8):
        start(host, f"brief{number}", "true" if number % 2 else "sleep", "600")
    for thread in threads:
        thread.join()
    assert len(pages) == 40
    for text in pages:
        assert {"engine_daemon_engine_info", "engine_daemon_events"} <= {family.name for family in parse(text)}
        assert text.endswith("\n")
    host.remove_containers()


# --- on an address of its own


def fetch(
    host: DaemonHost, path: str = "/metrics", method: str = "GET", where: str = "127.0.0.1:9323"
) -> tuple[int, str]:
    """A request from inside the daemon's place: its network is its own."""
    script = (
        "import sys, urllib.request, urllib.error\n"
        "request = urllib.request.Request(sys.argv[1], method=sys.argv[2])\n"
        "try: answer = urllib.request.urlopen(request, timeout=120)\n"
        "except urllib.error.HTTPError as error: answer = error\n"
        "print(answer.status); print(answer.read().decode(), end='')"
    )
    done = host.run(sys.executable, "-c", script, f"http://{where}{path}", method)
    assert done.returncode == 0, done.stderr
    status, _, text = done.stdout.partition("\n")
    return int(status), text


def test_metrics_on_an_address_of_their_own(own_host: DaemonHost) -> None:
    own_host.config.write_text('{"metrics-addr": "127.0.0.1:9323"}')
    own_host.start()
    status, text = fetch(own_host)
    assert status == 200
    assert {family.name for family in parse(text)} == {family.name for family in parse(page(own_host))}
    assert fetch(own_host, method="HEAD") == (200, "")
    assert fetch(own_host, "/containers/json") == (404, "404 page not found\n")
    assert fetch(own_host, "/v1.47/metrics")[0] == 404
    assert fetch(own_host, method="POST") == (405, "405 method not allowed\n")
    assert "/metrics is served on 127.0.0.1 port 9323 too" in own_host.log_tail()
    assert own_host.stop() == 0


def test_an_address_in_use_is_refused_and_nothing_made(own_host: DaemonHost) -> None:
    script = (
        "import socket, sys\n"
        "with socket.create_server(('127.0.0.1', 9323)): print('ready', flush=True); sys.stdin.read()"
    )
    command = own_host.inside(sys.executable, "-c", script)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "ready\n"
        with pytest.raises(DaemonFailed) as caught:
            own_host.start("--metrics-addr", "127.0.0.1:9323")
        other.communicate()
    assert str(caught.value) == (
        "minirund: can't listen on 127.0.0.1:9323: address already in use: choose another address with --metrics-addr\n"
    )
    own_host.start("--metrics-addr", "localhost:9323")
    assert fetch(own_host)[0] == 200
    own_host.kill9()
    own_host.start("--metrics-addr", ":9323")  # after a crash, and with connections of the old one in TIME_WAIT
    assert fetch(own_host)[0] == 200
    assert fetch(own_host, where="[::1]:9323")[0] == 200
