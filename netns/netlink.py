"""A conversation with the kernel about links, addresses and routes: an AF_NETLINK socket and its acknowledgements.

      library                                   kernel
        |  request 1, request 2, request 3         |      one send(), each with its sequence number
        |  --------------------------------------> |
        |  ack 1 (errno 0), ack 2, ack 3           |      struct nlmsgerr, in order
        |  <-------------------------------------- |
        |  query ---------------------------------> |
        |  <---- message, message, ..., DONE or ack |

A socket stays in the network namespace that its opener was in, and keeps that namespace alive (netlink(7)). With
NETLINK_EXT_ACK the kernel explains a refusal in words, which end up in the exception.
"""

import socket
import struct
from collections.abc import Iterator
from typing import Any, Self

from netns.errors import NetlinkError
from netns.messages import PARSERS, Request

HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_DUMP_INTR, NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x10, 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
RECEIVE_BYTES = 65536  # the kernel fills at most 32 KiB in one message of a dump
DUMP_TRIES = 10


def _padded(length: int) -> int:
    return (length + 3) & ~3


def split(data: bytes) -> Iterator[bytes]:
    """The messages in one datagram, header included."""
    offset = 0
    while offset < len(data):
        length = max(HEADER.unpack_from(data, offset)[0], HEADER.size)
        yield data[offset : offset + length]
        offset += _padded(length)


def acknowledgement(message: bytes) -> tuple[int, str]:
    """(errno, the kernel's explanation or "") of an NLMSG_ERROR message; errno 0 means done."""
    flags = HEADER.unpack_from(message)[2]
    error = -struct.unpack_from("=i", message, HEADER.size)[0]
    if not flags & NLM_F_ACK_TLVS:
        return error, ""
    echoed = HEADER.unpack_from(message, HEADER.size + 4)[0]
    offset = HEADER.size + 4 + (HEADER.size if flags & NLM_F_CAPPED else _padded(echoed))
    return error, _explanation(message, offset)


def _explanation(message: bytes, offset: int) -> str:
    while offset + ATTRIBUTE.size <= len(message):
        length, kind = ATTRIBUTE.unpack_from(message, offset)
        if kind == NLMSGERR_ATTR_MSG:
            return message[offset + ATTRIBUTE.size : offset + length].rstrip(b"\0").decode(errors="replace")
        offset += max(_padded(length), ATTRIBUTE.size)
    return ""


class RouteSocket:
    """An rtnetlink socket in the network namespace of the thread that opens it. For one thread at a time."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        for option in (NETLINK_CAP_ACK, NETLINK_EXT_ACK):
            self._socket.setsockopt(SOL_NETLINK, option, 1)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the socket; its namespace lives on only if something else holds it."""
        self._socket.close()

    def execute(self, *requests: Request) -> None:
        """Send the requests at once and wait for all answers. Raises NetlinkError for the first one refused.

        The kernel goes on after a refusal, so the later ones have been tried too.
        """
        numbered = self._send(*requests)
        failure: NetlinkError | None = None
        while numbered:
            for kind, sequence, message in self._receive():
                if kind == NLMSG_ERROR and sequence in numbered:
                    failure = failure or _failure(numbered.pop(sequence), message)
        if failure:
            raise failure

    def query(self, request: Request) -> list[Any]:
        """Send one request that is answered with messages; they come back decoded by pyroute2. Raises NetlinkError."""
        for _ in range(DUMP_TRIES):
            found, interrupted = self._query(request)
            if not interrupted:
                break
        return found

    def _query(self, request: Request) -> tuple[list[Any], bool]:
        """One try: the messages, and whether something changed while the kernel listed."""
        (expected,) = self._send(request)
        found: list[Any] = []
        interrupted = False
        while True:
            for kind, sequence, message in self._receive():
                if sequence != expected:
                    continue
                interrupted |= bool(HEADER.unpack_from(message)[2] & NLM_F_DUMP_INTR)
                if kind == NLMSG_ERROR and (failure := _failure(request, message)):
                    raise failure
                if kind in (NLMSG_ERROR, NLMSG_DONE):
                    return found, interrupted
                found.append(_decode(kind, message))

    def _send(self, *requests: Request) -> dict[int, Request]:
        numbered: dict[int, Request] = {}
        batch = bytearray()
        for request in requests:
            self._sequence += 1
            numbered[self._sequence] = request
            start = len(batch)
            batch += request.data
            struct.pack_into("=I", batch, start + 8, self._sequence)
        self._socket.send(batch)
        return numbered

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        for message in split(self._socket.recv(RECEIVE_BYTES)):
            _, kind, _, sequence, _ = HEADER.unpack_from(message)
            yield kind, sequence, message


def _failure(request: Request, message: bytes) -> NetlinkError | None:
    errno, reason = acknowledgement(message)
    return NetlinkError(request.step, errno, reason) if errno else None


def _decode(kind: int, message: bytes) -> Any:
    decoded = PARSERS[kind](message)
    decoded.decode()
    return decoded
