"""What can go wrong with blobs, archives and layers: one tree, each error one clear line.

    OverlayError
    ├── BlobMissing          the store has no blob of this digest
    ├── BadDigest            text that is no digest at all
    ├── DigestMismatch       the bytes aren't what their digest promised
    │   └── SizeMismatch     they are fewer or more than promised
    ├── BadArchive           a layer or image archive that is damaged, or tries a trick; names the entry
    ├── TooLarge             more than the limit that the caller set
    ├── LayerMissing         the store has no layer of this chain ID
    │   └── LinkTargetMissing  an entry leans on a layer below, which isn't there yet: unpack that one first, then retry
    ├── LayerCollision       two chain IDs share the first 16 hex digits
    ├── MountTooLong         more layers than one mount takes
    └── NoProjectQuota       a limit that the file system would not hold

The system's own errors (a full disk above all) pass through as OSError; the stores stay sound under them.
"""


class OverlayError(Exception):
    """Base of everything that this library raises by itself."""


class BlobMissing(OverlayError):
    """The content store has no such blob."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"no blob {digest}")
        self.digest = digest


class BadDigest(OverlayError):
    """A text that is no ``sha256:<64 hex digits>`` (or sha512), and so never becomes a path."""

    def __init__(self, digest: str) -> None:
        super().__init__(f"not a digest: {digest[:160]!r}")
        self.digest = digest


class DigestMismatch(OverlayError):
    """Content does not have the digest that it was asked for by."""

    def __init__(self, expected: str, actual: str, what: str = "blob") -> None:
        super().__init__(f"{what} does not match its digest: expected {expected}, got {actual}")
        self.expected, self.actual = expected, actual


class SizeMismatch(DigestMismatch):
    """Content has another length, in bytes, than was announced."""

    def __init__(self, digest: str, expected: int, actual: int) -> None:
        OverlayError.__init__(self, f"blob {digest} has the wrong size: expected {expected} bytes, got {actual}")
        self.expected, self.actual = str(expected), str(actual)


class BadArchive(OverlayError):
    """A damaged or hostile archive. ``entry`` is the name of the member, empty if it has none yet."""

    def __init__(self, entry: bytes | str, why: str) -> None:
        name = entry.decode("utf-8", "backslashreplace") if isinstance(entry, bytes) else entry
        shown = name if len(name) <= 200 else f"{name[:200]}..."
        super().__init__(f"bad archive: {shown!r}: {why}" if name else f"bad archive: {why}")
        self.entry, self.why = name, why


class TooLarge(OverlayError):
    """More bytes than ``limit``; unpacking stopped there."""

    def __init__(self, limit: int, what: str = "archive") -> None:
        super().__init__(f"{what} is larger than the limit of {limit} bytes")
        self.limit = limit


class LayerMissing(OverlayError):
    """The layer store has no such layer."""

    def __init__(self, chain_id: str) -> None:
        super().__init__(f"no layer {chain_id}")
        self.chain_id = chain_id


class LinkTargetMissing(LayerMissing):
    """A hardlink (or a directory never described) points into a layer below that is not in the store yet.

    Unpack the parent ``chain_id``, then this layer once more.
    """

    def __init__(self, chain_id: str, entry: bytes, target: bytes) -> None:
        super().__init__(chain_id)
        self.entry, self.target = entry.decode("utf-8", "backslashreplace"), target.decode("utf-8", "backslashreplace")
        self.args = (f"{self.entry!r} needs {self.target!r} of the layer below, {chain_id}, which is not unpacked yet",)


class LayerCollision(OverlayError):
    """Two layers want the same short directory name."""

    def __init__(self, name: str, wanted: str, present: str) -> None:
        super().__init__(f"layer directory {name} belongs to {present}, and {wanted} has the same name")
        self.name, self.wanted, self.present = name, wanted, present


class MountTooLong(OverlayError):
    """mount(2) takes one page of options and overlayfs 500 lower directories, and these are more."""

    def __init__(self, length: int, limit: int, layers: int) -> None:
        super().__init__(
            f"an overlay mount of {layers} layers with {length} bytes of options; the kernel takes 500 and {limit}"
        )
        self.length, self.limit, self.layers = length, limit, layers


class NoProjectQuota(OverlayError):
    """The file system at the mount point ``where`` does not hold directories to limits; ``fix`` is the way out."""

    def __init__(self, where: str, kind: str, fix: str) -> None:
        super().__init__(f"{where} is {kind} without project quotas: {fix}")
        self.where, self.kind, self.fix = where, kind, fix
