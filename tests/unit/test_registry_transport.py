"""Where a registry is looked for, which proxy is used, and how long a failure is waited out."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from minirund.errors import InvalidArgument
from minirund.registry.transport import (
    Broken,
    Endpoint,
    Limited,
    Patience,
    RegistryOptions,
    Unreachable,
    endpoints,
    origin,
    proxy_for,
)


@pytest.mark.parametrize(
    ("host", "insecure"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("127.9.9.9", True),
        ("[::1]:5000", True),
        ("10.1.2.3:5000", True),
        ("11.1.2.3", False),
        ("reg.test:5000", True),
        ("reg.test:5001", False),
        ("any.test:1", True),
        ("ghcr.io", False),
    ],
)
def test_which_hosts_may_lack_tls(host: str, insecure: bool) -> None:
    options = RegistryOptions(insecure=("10.0.0.0/8", "reg.test:5000", "any.test"))
    assert options.is_insecure(host) is insecure
    plain = (Endpoint(f"http://{host}"),) if insecure else ()
    assert endpoints(host, options, mirrored=False) == (Endpoint(f"https://{host}"), *plain)


def test_mirrors_come_first_and_only_where_they_stand_for_the_registry() -> None:
    options = RegistryOptions(mirrors=("https://one.test/", "http://two.test:5000/hub"))
    own = Endpoint("https://registry-1.docker.io")
    mirrors = (Endpoint("https://one.test", mirror=True), Endpoint("http://two.test:5000/hub", mirror=True))
    assert endpoints("registry-1.docker.io", options, mirrored=True) == (*mirrors, own)
    assert endpoints("registry-1.docker.io", options, mirrored=False) == (own,)


@pytest.mark.parametrize("mirror", ["one.test", "ftp://one.test", "https://", "https://one.test?x=1"])
def test_a_bad_mirror_is_refused(mirror: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid mirror"):
        RegistryOptions(mirrors=(mirror,))


def test_an_origin_is_scheme_host_and_port() -> None:
    assert origin("https://a.test:1/b?c") == "https://a.test:1"


def test_proxies_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    monkeypatch.setenv("no_proxy", "inside.test,.deep.test")
    assert proxy_for("https://ghcr.io/v2/") == "http://proxy.test:3128"
    assert proxy_for("http://ghcr.io/v2/") == ""
    assert proxy_for("https://inside.test/") == ""
    assert proxy_for("https://a.deep.test/") == ""
    assert proxy_for("https://localhost:5000/") == ""
    assert proxy_for("https://127.0.0.1/") == ""


def tries(error: Broken | Limited, options: RegistryOptions) -> int:
    """How often a thing that always fails so is tried."""

    async def run() -> int:
        patience = Patience(options)
        for count in range(1, 100):
            try:
                await patience.after(error)
            except type(error):
                return count
        return 100

    return asyncio.run(run())


def test_patience_ends() -> None:
    options = RegistryOptions(tries=5, first_delay=0.0)
    assert tries(Broken("x"), options) == 5
    assert tries(Unreachable("x"), options) == 2
    assert tries(Limited("x", 0.0), options) == 5
    assert tries(Limited("x", None), options) == 5
    assert tries(Limited("x", 3600.0), options) == 1
    assert tries(Unreachable("x"), RegistryOptions(tries=1)) == 1


def test_aiohttp_is_imported_by_the_first_pull_and_not_before() -> None:
    code = "import sys, minirund.engine.pull, minirund.engine.load; print({'aiohttp', 'yarl'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert shown.stdout == "set()\n"
