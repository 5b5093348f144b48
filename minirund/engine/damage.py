"""Images whose files are not all there: a disk that lost them, or a hand that deleted them. Looked for at each start.

A power cut does not make them: layers and blobs are on the disk before a record names them. But a record whose files
are gone would be listed, and fail only when somebody starts it, or pulls on top of it. Docker leaves such an image out
of its list, too. What it needs to run is looked at, its configuration and its layers; layers are not read, as that
would take as long as unpacking them.
"""

from __future__ import annotations

from minirund.engine.records import Image
from overlayfs.content import ContentStore
from overlayfs.errors import OverlayError
from overlayfs.layer import LayerStore
from overlayfs.mount import LINKS


def found(image: Image, content: ContentStore, layers: LayerStore) -> str:
    """What the image can't be run without and is missing or damaged, as a line for the log; empty if it is whole."""
    try:
        content.read(image.id)
        for chain in image.layers:
            layer = layers.get(chain)
            if not (layers.root / LINKS / layer.link).is_dir():
                return f"layer {chain}: its directory is gone"
    except (OverlayError, OSError) as error:
        return str(error)
    return ""
