"""libnftables, the library under the ``nft`` command, through ctypes: 0.2 ms an element where a process takes 5 ms.

A script in nft's language is one transaction: all of it happens, or nothing (nft(8), libnftables(3)). A context owns a
netlink socket, so it acts in the network namespace of the thread that opened it. libnftables contexts are not safe with
threads; a lock here makes this one so.
"""

import ctypes
import json
from threading import Lock
from typing import Any

from netns.errors import FirewallError

LIBRARY = "libnftables.so.1"
NFT_CTX_DEFAULT = 0
NFT_CTX_OUTPUT_JSON = 1 << 4


def _load() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise FirewallError(f"cannot load {LIBRARY} (Debian package libnftables1): {error}") from error
    library.nft_ctx_new.restype = ctypes.c_void_p
    for name in ("nft_ctx_get_output_buffer", "nft_ctx_get_error_buffer"):
        getattr(library, name).restype = ctypes.c_char_p
    return library


def message_of(errors: str) -> str:
    """nft's first error without the position and the caret drawing: what a user needs of it, on one line."""
    for line in errors.splitlines():
        _, found, message = line.partition("Error: ")
        if found:
            return message.strip()
    return " ".join(errors.split()) or "no reason given"


class Nft:
    """An open libnftables context. Raises FirewallError without the library or the rights."""

    def __init__(self) -> None:
        self._library = _load()
        context = self._library.nft_ctx_new(NFT_CTX_DEFAULT)
        if not context:
            raise FirewallError("libnftables gave no context: is this process root?")
        self._context: ctypes.c_void_p | None = ctypes.c_void_p(context)
        self._lock = Lock()
        self._library.nft_ctx_buffer_output(self._context)
        self._library.nft_ctx_buffer_error(self._context)

    def run(self, script: str) -> None:
        """Run a script as one transaction. Raises FirewallError with nft's message."""
        self._run(script, 0)

    def query(self, command: str) -> list[dict[str, Any]]:
        """The objects that a ``list`` command prints, as in libnftables-json(5). Raises FirewallError."""
        answer = json.loads(self._run(command, NFT_CTX_OUTPUT_JSON))
        return [item for item in answer["nftables"] if "metainfo" not in item]

    def close(self) -> None:
        """Free the context. Twice is fine."""
        with self._lock:
            if self._context:
                self._library.nft_ctx_free(self._context)
            self._context = None

    def _run(self, script: str, output_flags: int) -> bytes:
        with self._lock:
            if not self._context:
                raise FirewallError("the firewall is closed")
            self._library.nft_ctx_output_set_flags(self._context, output_flags)
            failed = self._library.nft_run_cmd_from_buffer(self._context, script.encode())
            output: bytes = self._library.nft_ctx_get_output_buffer(self._context)
            errors: bytes = self._library.nft_ctx_get_error_buffer(self._context)
        if failed:
            raise FirewallError(f"nftables: {message_of(errors.decode(errors='replace'))}")
        return output
