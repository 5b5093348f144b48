"""Challenges and credentials; how they are met over a connection is in test_registry_client."""

from __future__ import annotations

import base64

import pytest

from minirund.errors import InvalidArgument
from minirund.registry.auth import Challenge, Credentials, credentials, parse_challenges

HUB = {"realm": "https://auth.docker.io/token", "service": "registry.docker.io"}


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ("", []),
        ('Bearer realm="https://auth.docker.io/token",service="registry.docker.io"', [Challenge("bearer", HUB)]),
        ('bearer Realm = "https://auth.docker.io/token" , SERVICE=registry.docker.io', [Challenge("bearer", HUB)]),
        ('Basic realm="a \\"quoted\\", one"', [Challenge("basic", {"realm": 'a "quoted", one'})]),
        ("Basic", [Challenge("basic")]),
        ('Negotiate, Basic realm="x"', [Challenge("negotiate"), Challenge("basic", {"realm": "x"})]),
        ('Basic realm="x", Bearer realm="y",a=b', [
            Challenge("basic", {"realm": "x"}), Challenge("bearer", {"realm": "y", "a": "b"}),
        ]),
        ('Bearer realm="unclosed', [Challenge("bearer")]),
        ("=,=", []),
        ('Bearer realm="' + "\\" * 65536, [Challenge("bearer")]),
    ],
)  # fmt: skip
def test_challenges_are_read(header: str, challenges: list[Challenge]) -> None:
    assert parse_challenges(header)[: len(challenges) or None] == challenges


def encoded(text: bytes) -> str:
    return base64.b64encode(text).decode()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, Credentials()),
        ({}, Credentials()),
        ({"username": "u", "password": "p", "serveraddress": "x"}, Credentials("u", "p")),
        ({"auth": encoded(b"u:p:q")}, Credentials("u", "p:q")),
        ({"auth": encoded(b"u:p"), "username": "v", "password": "w"}, Credentials("v", "w")),
        ({"identitytoken": "t"}, Credentials(identity_token="t")),
        ({"username": "<token>", "password": "t"}, Credentials(identity_token="t")),
        ({"registrytoken": "t"}, Credentials(registry_token="t")),
        ({"username": None, "password": None, "auth": ""}, Credentials()),
    ],
)
def test_credentials_come_in_several_forms(given: dict[str, str] | None, expected: Credentials) -> None:
    assert credentials(given) == expected
    assert bool(expected) == (expected != Credentials())


@pytest.mark.parametrize(
    "given", [{"auth": "%"}, {"auth": encoded(b"nocolon")}, {"auth": encoded(b"\xff:x")}, {"username": 1}]
)
def test_bad_credentials_are_refused_without_being_repeated(given: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument, match="invalid X-Registry-Auth header"):
        credentials(given)


def test_secrets_are_not_printed() -> None:
    shown = repr(Credentials("name", "SECRET1", "SECRET2", "SECRET3"))
    assert "name" in shown
    assert "SECRET" not in shown
