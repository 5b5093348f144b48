"""Filters: which containers pass, and what is no filter."""

from __future__ import annotations

import math
import time

import pytest
from engine_records import a_container

from minirund.engine.filters import Filters, container_filter, has_label, labels_pass, truth, until
from minirund.engine.lifecycle import Status
from minirund.engine.records import Container
from minirund.errors import InvalidArgument, NotFound

CONTAINERS = {
    one.name: one
    for one in (
        a_container(1, name="web", config={"Labels": {"a": "1", "b": ""}, "ExposedPorts": {"80/tcp": {}}}),
        a_container(2, name="db", status=Status.EXITED, exit_code=3, host_config={"Binds": ["/src:/dst:ro"]}),
        a_container(3, name="web2", status=Status.RUNNING, image="alpine", image_id="sha256:" + "c" * 64,
                    host_config={"NetworkMode": "host", "Mounts": [{"Source": "/m", "Target": "/n"}]}),
    )
}  # fmt: skip


def find(ref: str) -> Container:
    if ref not in CONTAINERS:
        raise NotFound(f"No such container: {ref}")
    return CONTAINERS[ref]


def image_id(ref: str) -> str:
    if ref not in {"alpine", "other-name-of-alpine"}:
        raise NotFound(ref)
    return "sha256:" + "c" * 64


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, "web db web2"),
        ({"status": []}, "web db web2"),
        ({"status": ["created", "exited"]}, "web db"),
        ({"status": ["exited"], "name": ["web"]}, ""),
        ({"exited": ["3", "4"]}, "db"),
        ({"exited": ["0"]}, ""),
        ({"label": ["a"]}, "web"), ({"label": ["a=1", "b"]}, "web"), ({"label": ["a=2"]}, ""),
        ({"label": ["b="]}, "web"),
        ({"name": ["web"]}, "web web2"), ({"name": ["^web$"]}, "web"), ({"name": ["^/web$"]}, "web"),
        ({"name": ["web2", "db"]}, "db web2"),
        ({"id": ["11"]}, "web"), ({"id": ["1", "2"]}, "web db"), ({"id": ["9"]}, ""),
        ({"before": ["web2"]}, "web db"), ({"since": ["web"]}, "db web2"),
        ({"since": ["web"], "before": ["web2"]}, "db"),
        ({"ancestor": ["alpine"]}, "web2"), ({"ancestor": ["other-name-of-alpine"]}, "web2"),
        ({"ancestor": ["busybox"]}, "web db"), ({"ancestor": ["nowhere"]}, ""),
        ({"network": ["host"]}, "web2"), ({"network": ["bridge"]}, "web db"),
        ({"volume": ["/src"]}, "db"), ({"volume": ["/dst", "/n"]}, "db web2"), ({"volume": ["/no"]}, ""),
        ({"expose": ["80"]}, "web"), ({"expose": ["80/udp"]}, ""),
        ({"health": ["none"]}, "web db web2"), ({"health": ["healthy"]}, ""),
        ({"publish": ["80"]}, ""), ({"is-task": ["false"]}, "web db web2"), ({"is-task": ["true"]}, ""),
    ],
)  # fmt: skip
def test_which_pass(filters: Filters, names: str) -> None:
    passes = container_filter(filters, find, image_id)
    assert [one.name for one in CONTAINERS.values() if passes(one)] == names.split()


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"colour": ["red"]}, "invalid filter 'colour'"),
        ({"status": ["what"]}, "invalid filter 'status=what'"),
        ({"exited": ["x"]}, "invalid filter 'exited=x'"),
        ({"name": ["["]}, "not a regular expression"),
    ],
)
def test_what_is_no_filter(filters: Filters, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        container_filter(filters, find, image_id)


def test_a_container_that_is_not_there_is_not_found() -> None:
    with pytest.raises(NotFound):
        container_filter({"before": ["nowhere"]}, find, image_id)


@pytest.mark.parametrize(
    ("labels", "wanted", "there"),
    [(None, "a", False), ({}, "a", False), ({"a": "1"}, "a", True), ({"a": "1"}, "a=1", True),
     ({"a": "1"}, "a=", False),
     ({"a": "x=y"}, "a=x=y", True)],
)  # fmt: skip
def test_labels(labels: dict[str, str] | None, wanted: str, there: bool) -> None:
    assert has_label(labels, wanted) is there
    assert labels_pass({"label": [wanted]}, labels) is there
    assert labels_pass({"label!": [wanted]}, labels) is not there


def test_truth() -> None:
    assert truth({}, "dangling", None) is None
    assert truth({"dangling": ["True"]}, "dangling", None) is True
    assert truth({"dangling": ["0", "false"]}, "dangling", None) is False
    with pytest.raises(InvalidArgument, match=r"invalid filter 'dangling=\[maybe\]'"):
        truth({"dangling": ["maybe"]}, "dangling", None)
    with pytest.raises(InvalidArgument):
        truth({"dangling": ["1", "0"]}, "dangling", None)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1700000000", 1_700_000_000), ("1.5", 1.5), ("2023-11-14T22:13:20Z", 1_700_000_000),
     ("2023-11-14T22:13:20", 1_700_000_000), ("2023-11-14", 1_699_920_000)],
)  # fmt: skip
def test_until_a_time(value: str, seconds: float) -> None:
    assert until({"until": [value]}) == seconds * 1e9


@pytest.mark.parametrize(("value", "seconds"), [("24h", 86400), ("1h30m", 5400), ("1.5s", 1.5), ("100ms", 0.1)])
def test_until_an_age(value: str, seconds: float) -> None:
    before, found, after = time.time_ns(), until({"until": [value]}), time.time_ns()
    assert before - seconds * 1e9 - 1000 <= found <= after - seconds * 1e9 + 1000


def test_until_the_earliest_or_whenever() -> None:
    assert until({}) == math.inf
    assert until({"until": ["2", "1"]}) == 1e9
    for bad in ("", "x", "1h?"):
        with pytest.raises(InvalidArgument, match="neither a time nor an age"):
            until({"until": [bad]})
