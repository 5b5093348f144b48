"""One HTTP request to a registry, and what may become of it.

``endpoints`` says where a registry may be found, in order: its mirrors, then itself by https, then, for an insecure
or loopback host, by http. ``Transport.open`` makes one GET to one of them: it follows redirects (to a CDN, usually)
and leaves the Authorization header behind when they lead to another origin; proxies come from the environment.
Whatever goes wrong on the way becomes one of two errors, which ``Patience`` knows how to wait out:

    Unreachable      no connection: tried once more, soon       Broken     it ended midway, or a 5xx: up to 5 tries
    Limited          429: as long as Retry-After says, if that is bearable

aiohttp is imported with the first request, not before: a daemon that never pulls does not pay for it.
"""

from __future__ import annotations

import asyncio
import base64
import importlib
import json
import os
import random
import urllib.request
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urljoin, urlsplit

from minirund.errors import RegistryError, TooMany
from minirund.registry.options import RegistryOptions

if TYPE_CHECKING:
    import aiohttp

CONNECT_TIMEOUT = 15.0  # seconds
READ_TIMEOUT = 60.0  # seconds without a byte
READ_BUFFER = 512 << 10  # bytes that aiohttp may hold ahead of us
MAX_REDIRECTS = 10
MAX_ERROR_BODY = 64 << 10
LONGEST_WAIT = 60.0  # seconds; a registry that asks for more gets an error instead
_REDIRECTS = (301, 302, 303, 307, 308)


class Broken(RegistryError):
    """The exchange failed in a way that may not last."""


class Unreachable(Broken):
    """There was no connection at all."""


class Limited(TooMany):
    """Status 429. ``retry_after`` is in seconds, None where the registry does not say."""

    def __init__(self, message: str, retry_after: float | None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


@dataclass(frozen=True)
class Endpoint:
    """A place where a registry may answer. ``url`` has no slash at its end; a mirror gets no credentials of ours."""

    url: str
    mirror: bool = False

    @property
    def host(self) -> str:
        """``host[:port]``."""
        return urlsplit(self.url).netloc


def endpoints(host: str, options: RegistryOptions, mirrored: bool) -> tuple[Endpoint, ...]:
    """Where to ask, in this order. ``mirrored``: the mirrors stand for this registry (they do for docker.io)."""
    mirrors = tuple(Endpoint(url.rstrip("/"), mirror=True) for url in options.mirrors) if mirrored else ()
    plain = (Endpoint(f"http://{host}"),) if options.is_insecure(host) else ()
    return (*mirrors, Endpoint(f"https://{host}"), *plain)


def origin(url: str) -> str:
    """``https://host:port`` of an address, the port as written."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def proxy_for(url: str) -> str:
    """The proxy that the environment names for ``url``, or ""; loopback hosts never have one."""
    parts = urlsplit(url)
    name = parts.hostname or ""
    if name == "localhost" or name.startswith("127.") or name == "::1":
        return ""
    proxies = urllib.request.getproxies()
    if urllib.request.proxy_bypass(parts.netloc):
        return ""
    return proxies.get(parts.scheme) or proxies.get("all") or ""


class Patience:
    """Waits between tries, ever longer, with jitter; raises what it is given once there is no more point in it."""

    def __init__(self, options: RegistryOptions) -> None:
        self._options = options
        self._failures = 0

    def progress(self) -> None:
        """Something worked: the count starts anew."""
        self._failures = 0

    async def after(self, error: Broken | Limited) -> None:
        """Wait before the next try, or raise ``error``."""
        self._failures += 1
        tries = min(2, self._options.tries) if isinstance(error, Unreachable) else self._options.tries
        asked = error.retry_after if isinstance(error, Limited) else None
        if self._failures >= tries or (asked or 0) > LONGEST_WAIT:
            raise error
        await asyncio.sleep(asked if asked is not None else self._delay())

    def _delay(self) -> float:
        full = min(self._options.first_delay * 2 ** (self._failures - 1), LONGEST_WAIT / 2)
        return random.uniform(full / 2, full)  # noqa: S311 - jitter, not a secret


class Transport:
    """The connections to all registries. One for a daemon; made cheap, connected late, closed at the end."""

    def __init__(self, options: RegistryOptions) -> None:
        self.options = options
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close what is open; the transport can be used again."""
        session, self._session = self._session, None
        if session:
            await session.close()

    async def session(self) -> aiohttp.ClientSession:
        """The one session; made on first use. The import takes 0.1 s: it is done beside the running loop."""
        if self._session is None:
            await asyncio.to_thread(importlib.import_module, "aiohttp")
        if self._session is None:
            import aiohttp  # noqa: PLC0415 - see the module's docstring

            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=READ_TIMEOUT)
            self._session = aiohttp.ClientSession(
                timeout=timeout,
                auto_decompress=False,
                read_bufsize=READ_BUFFER,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": "minirund", "Accept-Encoding": "identity"},
            )
        return self._session

    @asynccontextmanager
    async def open(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        """GET ``url``, redirects followed; the answer's body is the caller's to read. Any status but a redirect.

        Raises Unreachable, Broken, or RegistryError for what won't get better.
        """
        left = dict(headers)
        for _ in range(MAX_REDIRECTS):
            answer = await self._send("GET", url, left)
            target = answer.headers.get("Location") if answer.status in _REDIRECTS else None
            if target is None:
                break
            answer.close()
            url, before = urljoin(url, target), origin(url)
            if origin(url) != before:
                left.pop("Authorization", None)
        else:
            raise RegistryError(f"{urlsplit(url).netloc}: more than {MAX_REDIRECTS} redirects")
        try:
            yield answer
        finally:
            answer.close()  # a connection whose answer was read to its end is back in the pool already

    async def fetch_json(
        self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """One small request and its JSON, for ``auth``: GET, or POST of a form. A body that is no object gives {}."""
        patience = Patience(self.options)
        while True:
            try:
                answer = await self._send("POST" if form else "GET", url, headers, form)
                try:
                    if answer.status < 500 and answer.status != 429:
                        return answer.status, as_object(await read_body(answer, MAX_ERROR_BODY))
                    raise Broken(f"token server {urlsplit(url).netloc}: status {answer.status}")
                finally:
                    answer.close()
            except Broken as error:
                await patience.after(error)

    async def _send(
        self, method: str, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> aiohttp.ClientResponse:
        from yarl import URL  # noqa: PLC0415 - comes with aiohttp

        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError(f"{url[:200]!r} is not an http(s) address")
        verify = not self.options.is_insecure(parts.netloc)
        session = await self.session()
        with translated(parts.netloc):
            return await session.request(
                method,
                URL(url, encoded=True),
                data=form,
                ssl=verify,
                allow_redirects=False,
                **_proxy_options(url, headers),
            )


def _proxy_options(url: str, headers: Mapping[str, str]) -> dict[str, Any]:
    """``headers``, and the proxy, if there is one, with its credentials: for it alone if the connection is a tunnel."""
    proxy = urlsplit(proxy_for(url))
    if not proxy.hostname:
        return {"headers": headers}
    bare = proxy._replace(netloc=proxy.netloc.rpartition("@")[2]).geturl()
    if not proxy.username:
        return {"headers": headers, "proxy": bare}
    secret = base64.b64encode(f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()).decode()
    authorization = {"Proxy-Authorization": f"Basic {secret}"}
    if urlsplit(url).scheme == "https":
        return {"headers": headers, "proxy": bare, "proxy_headers": authorization}
    return {"headers": {**headers, **authorization}, "proxy": bare}


class translated:  # noqa: N801 - reads as a verb at its use
    """A context in which aiohttp's errors become ours; ``host`` is named in them."""

    def __init__(self, host: str) -> None:
        self._host = host

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        import aiohttp  # noqa: PLC0415 - see the module's docstring

        if isinstance(error, aiohttp.ClientConnectorCertificateError):
            cause = error.certificate_error
            why = getattr(cause, "verify_message", "") or _last_words(cause)
            raise RegistryError(f"{self._host}: x509: certificate verify failed: {why}") from error
        if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
            raise Unreachable(f"registry {self._host} can't be reached: {_why(error)}") from error
        if isinstance(error, TimeoutError):
            raise Broken(f"registry {self._host}: no answer for {READ_TIMEOUT:.0f} seconds") from error
        if isinstance(error, aiohttp.ClientError | OSError):
            raise Broken(f"registry {self._host}: the connection broke: {_last_words(error)}") from error


def _why(error: aiohttp.ClientError) -> str:
    import aiohttp  # noqa: PLC0415 - see the module's docstring

    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return f"no answer within {CONNECT_TIMEOUT:.0f} seconds"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return "no such host"
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        plain = any(text in str(error) for text in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "record layer"))
        return "http: server gave HTTP response to HTTPS client" if plain else _last_words(error)
    number = error.errno if isinstance(error, aiohttp.ClientConnectorError) else None
    return os.strerror(number).lower() if number else _last_words(error)


def _last_words(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


async def read_body(answer: aiohttp.ClientResponse, limit: int) -> bytes:
    """The whole body, if it is not over ``limit`` bytes. Raises RegistryError, Broken."""
    body = bytearray()
    with translated(answer.url.raw_host or ""):
        async for chunk in answer.content.iter_any():
            body += chunk
            if len(body) > limit:
                raise RegistryError(f"{answer.url.raw_host}: the answer is larger than {limit >> 10} KiB")
    return bytes(body)


def as_object(body: bytes) -> dict[str, Any]:
    """JSON text as a dict; {} for anything else."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
