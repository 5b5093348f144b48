"""What the engine uses of a registry: the manifests and blobs of one repository.

    client = RegistryClient(RegistryOptions(insecure=("10.0.0.0/8",), mirrors=("https://mirror.example",)))
    repository = client.repository(parse("alpine"), credentials)
    document = await repository.manifest("latest")            # Document(data, media_type, digest), digest checked
    async for chunk in repository.blob(digest, size, offset):  # goes on after a break where it broke off
        ...
    await client.close()

A blob's digest is checked by whoever keeps it (it may begin at an offset); ``blob_bytes`` checks its own.
Every failure is one of ours: NotFound, Unauthorized and Forbidden in Docker's words, TooMany, RegistryError.
Sources: OCI distribution-spec, "Pull"; Docker Registry HTTP API V2, "Errors".
"""

from __future__ import annotations

import email.utils
import hashlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from minirund.errors import MinirundError, NotFound, RegistryError, Unauthorized
from minirund.registry import manifest as documents
from minirund.registry.auth import Authorizations, Credentials, parse_challenges
from minirund.registry.options import RegistryOptions
from minirund.registry.reference import DEFAULT_DOMAIN, Reference
from minirund.registry.transport import (
    MAX_ERROR_BODY,
    Broken,
    Endpoint,
    Limited,
    Patience,
    Transport,
    Unreachable,
    as_object,
    endpoints,
    origin,
    read_body,
    translated,
)

if TYPE_CHECKING:
    import aiohttp

T = TypeVar("T")
HUB_LIMIT = (
    "toomanyrequests: You have reached your pull rate limit. You may increase the limit by authenticating and "
    "upgrading: https://www.docker.com/increase-rate-limit"
)


@dataclass(frozen=True)
class Document:
    """A manifest or index as it was received; ``digest`` is that of ``data``."""

    data: bytes
    media_type: str
    digest: str


class RegistryClient:
    """All registries, seen from here. One for a daemon."""

    def __init__(self, options: RegistryOptions | None = None) -> None:
        self.transport = Transport(options or RegistryOptions())

    def repository(self, reference: Reference, credentials: Credentials | None = None) -> Repository:
        """The repository that ``reference`` names. Nothing is sent yet."""
        return Repository(self.transport, reference, credentials or Credentials())

    async def close(self) -> None:
        """Close all connections."""
        await self.transport.close()


class Repository:
    """One repository with one user's credentials, for the length of a pull."""

    def __init__(self, transport: Transport, reference: Reference, credentials: Credentials) -> None:
        self.reference = reference
        self._transport = transport
        self._signed_in = bool(credentials)
        self._authorizations = Authorizations(transport, credentials, f"repository:{reference.path}:pull")
        mirrored = reference.domain == DEFAULT_DOMAIN
        self._endpoints = list(endpoints(reference.host, transport.options, mirrored))

    async def manifest(self, identifier: str) -> Document:
        """The manifest or index of a tag or digest. Raises NotFound, Unauthorized, TooMany, RegistryError."""
        headers = {"Accept": ", ".join(documents.ACCEPT)}
        path = f"manifests/{quote(identifier, safe=':')}"
        return await self._retried(lambda: self._document(path, headers, identifier))

    async def blob_bytes(self, digest: str, size: int) -> bytes:
        """A small blob whole, its digest checked (an image's configuration). Raises as ``manifest`` does."""
        data = b"".join([chunk async for chunk in self.blob(digest, size)])
        check_digest(data, digest, "blob")
        return data

    async def blob(self, digest: str, size: int, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of a blob from ``offset`` on, in chunks as they come; after a break it goes on where it was.

        Raises NotFound, RegistryError (also for a blob that is shorter or longer than ``size`` bytes), TooMany.
        """
        patience = Patience(self._transport.options)
        while offset < size:
            try:
                async with aclosing(self._blob_once(digest, size, offset)) as chunks:
                    async for chunk in chunks:
                        offset += len(chunk)
                        patience.progress()
                        yield chunk
            except (Broken, Limited) as error:
                await patience.after(error)

    async def _blob_once(self, digest: str, size: int, offset: int) -> AsyncGenerator[bytes, None]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with self._opened(f"blobs/{digest}", headers) as (answer, endpoint):
            skip = _bytes_before(answer, offset)
            try:
                async with aclosing(_body(answer, endpoint.host, size - offset + skip)) as chunks:
                    async for chunk in chunks:
                        if len(chunk) > skip:
                            yield chunk[skip:]
                        skip = max(0, skip - len(chunk))
            except Broken:
                self._avoid(endpoint)
                raise

    async def _document(self, path: str, headers: Mapping[str, str], identifier: str) -> Document:
        async with self._opened(path, headers) as (answer, endpoint):
            data = await read_body(answer, documents.MAX_DOCUMENT)
            named = identifier if ":" in identifier else answer.headers.get("Docker-Content-Digest", "")
            digest = "sha256:" + hashlib.sha256(data).hexdigest()
            if named and ":" in identifier:
                check_digest(data, named, "manifest")
                digest = named
            elif named.startswith("sha256:") and named != digest:
                raise RegistryError(f"manifest verification failed for digest {named}: {endpoint.host} sent {digest}")
            return Document(data, answer.headers.get("Content-Type", ""), digest)

    async def _retried(self, attempt: Callable[[], Awaitable[T]]) -> T:
        patience = Patience(self._transport.options)
        while True:
            try:
                return await attempt()
            except (Broken, Limited) as error:
                await patience.after(error)

    @asynccontextmanager
    async def _opened(
        self, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[aiohttp.ClientResponse, Endpoint]]:
        """A successful answer from the first endpoint that gives one; the last one's error if none does."""
        answer_context, answer, endpoint = await self._first(path, headers)
        try:
            yield answer, endpoint
        finally:
            await answer_context.__aexit__(None, None, None)

    async def _first(self, path: str, headers: Mapping[str, str]) -> tuple[Any, aiohttp.ClientResponse, Endpoint]:
        failure: MinirundError = RegistryError(f"registry {self.reference.host} has no address")
        for endpoint in list(self._endpoints):
            context = self._granted(endpoint, path, headers)
            try:
                answer = await context.__aenter__()
            except MinirundError as error:
                failure = error
                if not endpoint.mirror and not isinstance(error, Unreachable):
                    raise
                continue
            self._prefer(endpoint)
            return context, answer, endpoint
        raise failure

    @asynccontextmanager
    async def _granted(
        self, endpoint: Endpoint, path: str, headers: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A successful answer of one endpoint, its challenge met if it made one."""
        url = f"{endpoint.url}/v2/{self.reference.path}/{path}"
        for last in (False, True):
            async with self._transport.open(url, self._signed(endpoint, headers)) as answer:
                if answer.status in (200, 206):
                    yield answer
                    return
                if answer.status != 401 or last or not await self._met(endpoint, answer):
                    raise await self._failure(answer, endpoint, path)

    def _signed(self, endpoint: Endpoint, headers: Mapping[str, str]) -> dict[str, str]:
        authorization = self._authorizations.header(origin(endpoint.url))
        return {**headers, "Authorization": authorization} if authorization else dict(headers)

    async def _met(self, endpoint: Endpoint, answer: aiohttp.ClientResponse) -> bool:
        """Meet the challenge of a 401. A token server that refuses us anonymously means the same as the registry."""
        challenges = [one for text in answer.headers.getall("WWW-Authenticate", []) for one in parse_challenges(text)]
        await read_body(answer, MAX_ERROR_BODY)  # so that the connection can be used again
        try:
            return await self._authorizations.answer(origin(endpoint.url), challenges, not endpoint.mirror)
        except Unauthorized:
            if self._signed_in or any(one.scheme == "basic" for one in challenges):
                raise
            raise self._denied() from None

    async def _failure(self, answer: aiohttp.ClientResponse, endpoint: Endpoint, path: str) -> MinirundError:
        """The error that an unsuccessful answer means."""
        with suppress(RegistryError):
            body = as_object(await read_body(answer, MAX_ERROR_BODY))
            return self._translate(answer, endpoint, path, *_first_error(body))
        return self._translate(answer, endpoint, path, "", "")

    def _translate(
        self, answer: aiohttp.ClientResponse, endpoint: Endpoint, path: str, code: str, message: str
    ) -> MinirundError:
        status = answer.status
        if status == 429:
            hub = self.reference.domain == DEFAULT_DOMAIN and not endpoint.mirror
            text = HUB_LIMIT if hub else f"toomanyrequests: {message or 'too many requests'} ({endpoint.host})"
            return Limited(text, _retry_after(answer.headers.get("Retry-After", "")))
        if status in (401, 403):
            return self._refused(endpoint, status, message)
        if status == 404:
            return self._not_found(path, code, message)
        if status == 416:
            return RegistryError(f"{endpoint.host}: the blob is shorter than its manifest says")
        text = f"{endpoint.host}: status {status}" + (f": {message}" if message else "")
        return Broken(text) if status >= 500 or status == 408 else RegistryError(text)

    def _refused(self, endpoint: Endpoint, status: int, message: str) -> MinirundError:
        """Docker Hub says 401 also of a repository that does not exist: only who signed in knows better."""
        if self._signed_in and status == 401:
            return Unauthorized(f"{endpoint.host}: unauthorized: {message or 'authentication required'}")
        return self._denied()

    def _denied(self) -> NotFound:
        return NotFound(
            f"pull access denied for {self.reference.familiar_name}, repository does not exist or may require "
            "'docker login': denied: requested access to the resource is denied"
        )

    def _not_found(self, path: str, code: str, message: str) -> NotFound:
        if path.startswith("blobs/"):
            return NotFound(f"blob {path[6:]} of {self.reference.familiar_name} not found: the registry has lost it")
        if code == "NAME_UNKNOWN":
            words = message or "repository name not known to registry"
            return NotFound(f"repository {self.reference.familiar_name} not found: name unknown: {words}")
        words = message or "manifest unknown"
        return NotFound(f"manifest for {self.reference.familiar()} not found: manifest unknown: {words}")

    def _prefer(self, endpoint: Endpoint) -> None:
        self._endpoints.sort(key=lambda one: one != endpoint)

    def _avoid(self, endpoint: Endpoint) -> None:
        self._endpoints.sort(key=lambda one: one == endpoint and one.mirror)


def check_digest(data: bytes, digest: str, what: str) -> None:
    """Raises RegistryError if ``data`` is not what ``digest`` (sha256 or sha512) names."""
    algorithm, _, wanted = digest.partition(":")
    found = hashlib.new(algorithm, data).hexdigest()
    if found != wanted:
        raise RegistryError(f"{what} verification failed for digest {digest}: the registry sent {algorithm}:{found}")


def _bytes_before(answer: aiohttp.ClientResponse, offset: int) -> int:
    """How much of the body lies before ``offset``: nothing if the range was honoured, else all up to it."""
    if answer.status != 206:
        return offset
    start = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
    if start != str(offset):
        raise RegistryError(f"{answer.url.raw_host}: asked for bytes from {offset} on, got {start[:30] or 'others'}")
    return 0


async def _body(answer: aiohttp.ClientResponse, host: str, size: int) -> AsyncGenerator[bytes, None]:
    """The body in chunks; it must have exactly ``size`` bytes."""
    left = size
    with translated(host):
        async for chunk in answer.content.iter_any():
            left -= len(chunk)
            if left < 0:
                raise RegistryError(f"{host}: the blob is longer than its manifest says")
            yield chunk
    if left:
        raise Broken(f"registry {host}: the connection ended {left} bytes early")


def _first_error(body: Mapping[str, Any]) -> tuple[str, str]:
    """``code`` and ``message`` of an error body, on one line each."""
    errors = body.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else {}
    values = (first.get("code"), first.get("message")) if isinstance(first, dict) else ("", "")
    code, message = (" ".join(value.split())[:300] if isinstance(value, str) else "" for value in values)
    return code, message


def _retry_after(value: str) -> float | None:
    """Seconds of a Retry-After header: a number, or a date (RFC 9110 section 10.2.3)."""
    if value.strip().isdigit():
        return float(value)
    with suppress(ValueError, TypeError):
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    return None
