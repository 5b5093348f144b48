"""Parameters as clients write them."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from minirund.api import params
from minirund.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("", None), ("0", 0.0), ("5", 5.0), ("5.25", 5.25), ("1700000000.123456789", 1_700_000_000.1234567),
        ("1970-01-01T00:01:00Z", 60.0), ("1970-01-01T01:01:00.5+01:00", 60.5), ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01T00:00:10.123456789Z", 10.123456), ("1970-01-02", 86400.0), ("0001-01-01T00:00:00Z", 0.0),
    ],
)  # fmt: skip
def test_moments(text: str, seconds: float | None) -> None:
    assert params.moment("since", text) == seconds


@pytest.mark.parametrize("text", ["x", "1e5", "nan", "inf", "-5", "2026-13-01", "1" * 5000, "1\u0661"])
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(InvalidArgument, match="until"):
        params.moment("until", text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [("all", None), ("", None), ("-1", None), ("x", None), ("0", 0), ("10", 10), ("\u0663", None), ("9" * 5000, None)],
)
def test_tail(text: str, lines: int | None) -> None:
    assert params.tail(text) == lines


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("", "\x10\x11"), ("ctrl-p,ctrl-q", "\x10\x11"), ("a", "a"), ("ctrl-@", "\0"), ("ctrl-[,x", "\x1bx"),
        ("ctrl-_", "\x1f"),
    ],
)  # fmt: skip
def test_detach_keys(text: str, keys: str) -> None:
    assert params.detach_keys(text) == keys


@pytest.mark.parametrize("text", ["ctrl-", "ctrl-pp", "ctrl-9", "ab", "a,,b", "\xe9", "ctrl-p,"])
def test_keys_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid detach keys"):
        params.detach_keys(text)


@pytest.mark.parametrize("encode", [base64.urlsafe_b64encode, base64.standard_b64encode])
@pytest.mark.parametrize("padded", [True, False])
def test_credentials(encode: Any, padded: bool) -> None:
    for password in ("", "a", "ab", "~?>\xff"):
        header = encode(json.dumps({"password": password}, ensure_ascii=False).encode()).decode()
        assert params.credentials(header if padded else header.rstrip("=")) == {"password": password}


def test_no_credentials() -> None:
    assert [params.credentials(text) for text in (None, "", "e30", "e30=")] == [None] * 4


@pytest.mark.parametrize(
    "text", ["%%", "e", base64.b64encode(b"[1]").decode(), base64.b64encode(b"{").decode(), "\xe9"]
)
def test_credentials_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="X-Registry-Auth"):
        params.credentials(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {}), ("{}", {}), ('{"a":["x","y"]}', {"a": ["x", "y"]}), ('{"a":{"x":true,"y":false}}', {"a": ["x"]}),
        ('{"dangling":[true],"n":[5]}', {"dangling": ["true"], "n": ["5"]}),
    ],
)  # fmt: skip
def test_filters(text: str, found: dict[str, list[str]]) -> None:
    assert params.filters(text) == found


@pytest.mark.parametrize(
    "text", ["x", "[]", "5", "null", '{"a":"x"}', '{"a":[["x"]]}', '{"a":null}', "[" * 9999], ids=len
)
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid filters"):
        params.filters(text)
