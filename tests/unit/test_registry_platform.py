"""Platforms: spellings, and the machine's own. Which of several is chosen: test_registry_manifest.py."""

from __future__ import annotations

import platform as machine

import pytest

from minirund.errors import InvalidArgument
from minirund.registry.platform import Platform, host, normalised, parse_platform


def test_the_hosts_platform_is_linux() -> None:
    assert host().os == "linux"
    assert parse_platform(str(host())) == host()
    assert normalised("linux", machine.machine()).architecture == host().architecture


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", Platform("linux", "amd64")), ("linux/x86_64", Platform("linux", "amd64")),
        ("Linux/ARM64/v8", Platform("linux", "arm64")), ("linux/aarch64", Platform("linux", "arm64")),
        ("linux/armhf", Platform("linux", "arm", "v7")), ("linux/arm/v7", Platform("linux", "arm", "v7")),
        ("arm64", Platform("linux", "arm64")), ("linux", host()), ("linux/amd64/v3", Platform("linux", "amd64", "v3")),
    ],
)  # fmt: skip
def test_one_spelling_for_each(text: str, platform: Platform) -> None:
    assert parse_platform(text) == platform
    assert parse_platform(str(platform)) == platform


@pytest.mark.parametrize("text", ["", "linux/", "a/b/c/d", "linux/amd64/v1/", "linux/amd 64", "x" * 65])
def test_what_is_no_platform(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid platform"):
        parse_platform(text)
