"""/metrics of a live daemon, read by Prometheus' own parser."""

from __future__ import annotations

import threading

import pytest
from daemon import DaemonHost
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
