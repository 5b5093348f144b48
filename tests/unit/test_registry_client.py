"""Manifests and blobs over a connection, from registries that break off, refuse, redirect, limit and lie."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from images import image, index, sha256
from registries import free_port
from scripted_registry import ScriptedRegistry, altered, cut, error, redirect, scripted_registry, slammed, status

from minirund.errors import MinirundError, NotFound, RegistryError, TooMany, Unauthorized
from minirund.registry.auth import Credentials
from minirund.registry.client import Document, RegistryClient, Repository
from minirund.registry.options import RegistryOptions
from minirund.registry.reference import parse

ONE = image({"a": "1"}, {"b": b"\0" * 300_000})
BIG = image({"a": bytes(range(256)) * 4000}, compression="none")
LAYER = BIG.layers[0]
PATIENT = RegistryOptions(first_delay=0.0)


@pytest.fixture
def registry() -> Iterator[ScriptedRegistry]:
    with scripted_registry() as one:
        one.add("a/b", ONE)
        one.add("big", BIG)
        yield one


def using(
    name: str,
    work: Callable[[Repository], Awaitable[Any]],
    credentials: Credentials | None = None,
    options: RegistryOptions = PATIENT,
) -> Any:
    """What ``work`` gives for the repository of that name."""

    async def run() -> Any:
        client = RegistryClient(options)
        try:
            return await work(client.repository(parse(name), credentials))
        finally:
            await client.close()

    return asyncio.run(run())


def manifest(name: str, credentials: Credentials | None = None, options: RegistryOptions = PATIENT) -> Document:
    document: Document = using(name, lambda one: one.manifest(one.reference.identifier), credentials, options)
    return document


def layer(registry: ScriptedRegistry, offset: int = 0, size: int = len(LAYER.data)) -> bytes:
    async def work(repository: Repository) -> bytes:
        return b"".join([chunk async for chunk in repository.blob(LAYER.digest, size, offset)])

    data: bytes = using(f"{registry.address}/big", work)
    return data


def fails(kind: type[MinirundError], words: str, work: Callable[[], object]) -> None:
    with pytest.raises(kind, match=re.escape(words)) as failure:
        work()
    assert "\n" not in str(failure.value)


# --- what a healthy one gives ---


def test_a_manifest_by_tag_and_by_digest(registry: ScriptedRegistry) -> None:
    by_tag = manifest(f"{registry.address}/a/b")
    assert by_tag == Document(ONE.manifest.data, ONE.manifest.media_type, ONE.digest)
    assert manifest(f"{registry.address}/a/b@{ONE.digest}") == by_tag
    accepted = registry.requests[0].headers["accept"]
    assert "application/vnd.oci.image.index.v1+json" in accepted
    assert "application/vnd.docker.distribution.manifest.v2+json" in accepted


def test_a_blob_whole_and_from_an_offset(registry: ScriptedRegistry) -> None:
    assert layer(registry) == LAYER.data
    assert layer(registry, offset=1000) == LAYER.data[1000:]
    assert registry.asked("/blobs/")[-1].headers["range"] == "bytes=1000-"


def test_a_registry_without_ranges_sends_all_and_the_rest_is_taken(registry: ScriptedRegistry) -> None:
    registry.ranges = False
    assert layer(registry, offset=500_000) == LAYER.data[500_000:]


def test_a_blob_that_is_complete_is_not_asked_for(registry: ScriptedRegistry) -> None:
    assert layer(registry, offset=len(LAYER.data)) == b""
    assert registry.asked("/blobs/") == []


# --- what a sick one does ---


def test_a_broken_connection_is_resumed_where_it_broke(registry: ScriptedRegistry) -> None:
    registry.rule("/blobs/", cut(100_000), times=3)
    assert layer(registry) == LAYER.data
    offsets = [request.headers.get("range", "") for request in registry.asked("/blobs/")]
    assert offsets == ["", "bytes=100000-", "bytes=200000-", "bytes=300000-"]


def test_a_connection_that_always_breaks_at_once_is_given_up(registry: ScriptedRegistry) -> None:
    registry.rule("/blobs/", slammed())
    fails(RegistryError, "the connection broke", lambda: layer(registry))


def test_a_server_error_is_tried_again(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", status(503), times=2)
    assert manifest(f"{registry.address}/a/b").digest == ONE.digest
    registry.rule("/manifests/", error(500, "UNKNOWN", "disk\nfull"))
    registry.requests.clear()
    fails(RegistryError, "status 500: disk full", lambda: manifest(f"{registry.address}/a/b"))
    assert len(registry.requests) == PATIENT.tries


def test_a_rate_limit_is_waited_for(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", status(429, {"Retry-After": "0"}), times=4)
    assert manifest(f"{registry.address}/a/b").digest == ONE.digest
    assert len(registry.asked("/manifests/")) == 5


def test_a_rate_limit_that_stays_or_is_too_long_is_too_many(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", status(429, {"Retry-After": "0"}), times=5)
    fails(TooMany, "toomanyrequests", lambda: manifest(f"{registry.address}/a/b"))
    assert len(registry.requests) == 5
    registry.rule("/manifests/", status(429, {"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}))
    fails(TooMany, "toomanyrequests", lambda: manifest(f"{registry.address}/a/b"))
    assert len(registry.requests) == 6


def test_wrong_bytes_for_a_manifest_are_noticed(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", altered(lambda data: data + b" "))
    words = f"manifest verification failed for digest {ONE.digest}"
    fails(RegistryError, words, lambda: manifest(f"{registry.address}/a/b"))
    fails(RegistryError, words, lambda: manifest(f"{registry.address}/a/b@{ONE.digest}"))


def test_wrong_bytes_for_a_small_blob_are_noticed(registry: ScriptedRegistry) -> None:
    registry.rule("/blobs/", altered(lambda data: b"X" + data[1:]))
    fails(
        RegistryError,
        f"blob verification failed for digest {ONE.id}",
        lambda: using(f"{registry.address}/a/b", lambda one: one.blob_bytes(ONE.id, len(ONE.config.data))),
    )


def test_a_blob_of_another_length_is_noticed(registry: ScriptedRegistry) -> None:
    fails(RegistryError, "longer than its manifest says", lambda: layer(registry, size=len(LAYER.data) - 1))
    registry.rule("/blobs/", altered(lambda data: data[:1000]), times=1)
    registry.rule("/blobs/", status(416))
    fails(RegistryError, "shorter than its manifest says", lambda: layer(registry))


def test_a_range_that_was_not_asked_for_is_refused(registry: ScriptedRegistry) -> None:
    registry.rule("/blobs/", status(206, {"Content-Range": "bytes 0-9/10"}))
    fails(RegistryError, "asked for bytes from 7 on, got 0", lambda: layer(registry, offset=7))


def test_an_endless_manifest_is_cut_off(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", altered(lambda data: data + b" " * (5 << 20)))
    fails(RegistryError, "larger than 4096 KiB", lambda: manifest(f"{registry.address}/a/b"))


# --- what does not exist, or is not for us ---


def test_unknown_names_are_told_in_dockers_words(registry: ScriptedRegistry) -> None:
    name = f"{registry.address}/no"
    fails(
        NotFound,
        f"manifest for {name}:latest not found: manifest unknown: manifest unknown",
        lambda: manifest(name),
    )
    registry.rule("/manifests/", error(404, "NAME_UNKNOWN", "repository name not known to registry"))
    fails(NotFound, f"repository {name} not found: name unknown: repository name not", lambda: manifest(name))


def test_a_lost_blob_is_named(registry: ScriptedRegistry) -> None:
    registry.blobs.clear()
    fails(NotFound, f"blob {LAYER.digest} of {registry.address}/big not found", lambda: layer(registry))


def test_denied_is_told_in_dockers_words(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", error(403, "DENIED", "requested access to the resource is denied"))
    name = f"{registry.address}/a/b"
    fails(
        NotFound,
        f"pull access denied for {name}, repository does not exist or may require 'docker login': "
        "denied: requested access to the resource is denied",
        lambda: manifest(name),
    )


# --- who asks ---


def test_a_token_is_fetched_once_and_used(registry: ScriptedRegistry) -> None:
    registry.auth = "bearer"

    async def work(repository: Repository) -> bytes:
        await repository.manifest("latest")
        return await repository.blob_bytes(ONE.id, len(ONE.config.data))

    assert using(f"{registry.address}/a/b", work) == ONE.config.data
    tokens = registry.asked("/token")
    assert len(tokens) == 1
    assert "scope=repository%3Aa%2Fb%3Apull" in tokens[0].path
    assert "service=tests" in tokens[0].path
    assert "authorization" not in tokens[0].headers


def test_a_token_that_the_registry_no_longer_takes_is_renewed(registry: ScriptedRegistry) -> None:
    registry.auth = "bearer"
    registry.rule("/blobs/", status(401, {"WWW-Authenticate": bearer(registry)}), times=1)

    async def work(repository: Repository) -> bytes:
        await repository.manifest("latest")
        return await repository.blob_bytes(ONE.id, len(ONE.config.data))

    assert using(f"{registry.address}/a/b", work) == ONE.config.data
    assert len(registry.asked("/token")) == 2


def bearer(registry: ScriptedRegistry) -> str:
    return f'Bearer realm="http://{registry.address}/token",service="tests"'


@pytest.mark.parametrize("auth", ["bearer", "basic"])
def test_credentials_open_what_is_closed(registry: ScriptedRegistry, auth: str) -> None:
    registry.auth, registry.users = auth, {"user": "pass:word"}
    name = f"{registry.address}/a/b"
    assert manifest(name, Credentials("user", "pass:word")).digest == ONE.digest
    with pytest.raises(Unauthorized, match=r"incorrect username or password|authentication required"):
        manifest(name, Credentials("user", "wrong"))


def test_without_credentials_a_closed_repository_says_what_to_do(registry: ScriptedRegistry) -> None:
    registry.auth, registry.users = "bearer", {"user": "x"}
    fails(NotFound, "may require 'docker login'", lambda: manifest(f"{registry.address}/a/b"))
    registry.auth = "basic"
    fails(Unauthorized, f"{registry.address}: no basic auth credentials", lambda: manifest(f"{registry.address}/a/b"))


def test_an_identity_token_is_exchanged_by_post(registry: ScriptedRegistry) -> None:
    registry.auth, registry.users, registry.identity_tokens = "bearer", {"x": "y"}, {"secret"}
    assert manifest(f"{registry.address}/a/b", Credentials(identity_token="secret")).digest == ONE.digest
    post = next(request for request in registry.requests if request.method == "POST")
    assert "grant_type=refresh_token" in post.body
    assert "refresh_token=secret" in post.body
    fails(Unauthorized, "unauthorized", lambda: manifest(f"{registry.address}/a/b", Credentials(identity_token="no")))


def test_a_broken_token_server_is_named(registry: ScriptedRegistry) -> None:
    registry.auth = "bearer"
    realm = f'Bearer realm="http://{registry.address}/v2/nonsense"'
    registry.rule("/manifests/", status(401, {"WWW-Authenticate": realm}))
    registry.rule("/v2/nonsense", status(200, body=["no", "object"]))
    fails(RegistryError, f"token server {registry.address} gave no token", lambda: manifest(f"{registry.address}/a/b"))


@pytest.mark.parametrize("realm", ["file:///etc/passwd", "ftp://x/", "//x", "token"])
def test_a_token_server_that_is_no_http_address_is_not_asked(registry: ScriptedRegistry, realm: str) -> None:
    registry.rule("/manifests/", status(401, {"WWW-Authenticate": f'Bearer realm="{realm}"'}))
    fails(RegistryError, "is not an http(s) address", lambda: manifest(f"{registry.address}/a/b"))


def test_a_redirect_is_followed_and_authorization_stays_behind(registry: ScriptedRegistry) -> None:
    registry.auth = "bearer"
    with scripted_registry() as cdn:
        cdn.blobs[LAYER.digest] = LAYER.data
        target = f"http://{cdn.address}/cdn/blobs/{LAYER.digest}?sig=a%2Fb%20c"
        registry.rule("/blobs/", lambda handler: registry_redirect(handler, target))
        assert layer(registry, offset=10) == LAYER.data[10:]
        (asked,) = cdn.requests
        assert "authorization" not in asked.headers
        assert asked.headers["range"] == "bytes=10-"
        assert asked.path.endswith("?sig=a%2Fb%20c")
    assert "authorization" in registry.asked("/blobs/")[-1].headers


def registry_redirect(handler: Any, target: str) -> bool:
    """Redirect who is admitted; ask the others who they are."""
    return redirect(target)(handler) if "Authorization" in handler.headers else False


def test_a_redirect_to_itself_ends(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", redirect("/v2/a/b/manifests/latest"))
    fails(RegistryError, "more than 10 redirects", lambda: manifest(f"{registry.address}/a/b"))


def test_a_redirect_elsewhere_than_http_is_refused(registry: ScriptedRegistry) -> None:
    registry.rule("/manifests/", redirect("file:///etc/passwd"))
    fails(RegistryError, "is not an http(s) address", lambda: manifest(f"{registry.address}/a/b"))


# --- which one is asked ---


def test_a_mirror_stands_for_docker_hub(registry: ScriptedRegistry) -> None:
    registry.add("library/alpine", ONE)
    options = RegistryOptions(
        mirrors=(f"http://127.0.0.1:{free_port()}", f"http://{registry.address}"), first_delay=0.0
    )
    assert manifest("alpine", Credentials("hub-user", "hub-password"), options).digest == ONE.digest
    assert "authorization" not in registry.requests[0].headers


def test_a_mirror_gets_no_credentials_even_if_it_asks(registry: ScriptedRegistry) -> None:
    registry.add("library/alpine", ONE)
    registry.auth, registry.users = "bearer", {"hub-user": "hub-password"}
    options = RegistryOptions(mirrors=(f"http://{registry.address}",), first_delay=0.0, tries=1)
    with pytest.raises(MinirundError):
        manifest("alpine", Credentials("hub-user", "hub-password"), options)
    assert all("Basic" not in request.headers.get("authorization", "") for request in registry.requests)


@pytest.mark.parametrize("failure", [status(404), status(500), status(429), status(403), slammed()])
def test_a_mirror_that_fails_is_passed_over(registry: ScriptedRegistry, failure: Any) -> None:
    with scripted_registry() as second:
        second.add("library/alpine", ONE)
        registry.rule("/manifests/", failure)
        options = RegistryOptions(mirrors=(f"http://{registry.address}", f"http://{second.address}"), first_delay=0.0)
        assert manifest("alpine", options=options).digest == ONE.digest
    assert registry.requests


def test_a_mirror_that_breaks_off_is_followed_by_the_next(registry: ScriptedRegistry) -> None:
    with scripted_registry() as second:
        for one in (registry, second):
            one.add("library/big", BIG)
        registry.rule("/blobs/", cut(1000))
        options = RegistryOptions(mirrors=(f"http://{registry.address}", f"http://{second.address}"), first_delay=0.0)

        async def work(repository: Repository) -> bytes:
            return b"".join([chunk async for chunk in repository.blob(LAYER.digest, len(LAYER.data))])

        assert sha256(using("big", work, options=options)) == LAYER.digest
        assert second.asked("/blobs/")[-1].headers["range"] == "bytes=1000-"


def test_an_address_where_nobody_listens_is_one_line() -> None:
    host = f"127.0.0.1:{free_port()}"
    fails(RegistryError, f"registry {host} can't be reached: connection refused", lambda: manifest(f"{host}/x"))


def test_a_host_that_does_not_exist_is_one_line() -> None:
    fails(RegistryError, "registry no.invalid can't be reached: no such host", lambda: manifest("no.invalid/x"))


class Strict(RegistryOptions):
    """As for a host that is not on loopback."""

    def is_insecure(self, host: str) -> bool:
        return False


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody has signed."""
    key, certificate = (tmp_path_factory.getbasetemp() / name for name in ("registry.key", "registry.crt"))
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-subj", "/CN=127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def test_an_unknown_certificate_is_accepted_from_insecure_registries_only(tls: ssl.SSLContext) -> None:
    with scripted_registry(tls) as registry:
        registry.add("a/b", ONE)
        assert manifest(f"{registry.address}/a/b").digest == ONE.digest
        words = f"{registry.address}: x509: certificate verify failed"
        fails(RegistryError, words, lambda: manifest(f"{registry.address}/a/b", options=Strict()))
        assert len(registry.requests) == 1


def test_plain_http_is_accepted_from_insecure_registries_only(registry: ScriptedRegistry) -> None:
    words = f"registry {registry.address} can't be reached: http: server gave HTTP response to HTTPS client"
    fails(RegistryError, words, lambda: manifest(f"{registry.address}/a/b", options=Strict(first_delay=0.0)))


def test_a_registry_behind_a_proxy(registry: ScriptedRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is the scripted registry itself: a proxied request names the whole address."""
    monkeypatch.setenv("http_proxy", f"http://user:word@{registry.address}")
    name = "registry.invalid:5000"
    registry.manifests[f"http://{name}/v2/a/b", "latest"] = ONE.manifest
    options = RegistryOptions(insecure=(name,), first_delay=0.0)
    assert manifest(f"{name}/a/b", options=options).digest == ONE.digest
    basic = base64.b64encode(b"user:word").decode()
    assert registry.requests[-1].headers["proxy-authorization"] == f"Basic {basic}"


def test_an_index_is_given_as_it_is(registry: ScriptedRegistry) -> None:
    many = index(ONE, image({"z": "1"}, platform="linux/arm64"))
    registry.add("many", many)
    document = manifest(f"{registry.address}/many")
    assert document.digest == many.digest
    assert len(json.loads(document.data)["manifests"]) == 2
