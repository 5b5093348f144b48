"""Records for the engine's tests: a container and an image, of which a test says what is special."""

from __future__ import annotations

from typing import Any

from minirund.engine.records import Container, Image


def a_container(number: int = 1, **special: Any) -> Container:
    ident = f"{number:x}" * 64
    usual: dict[str, Any] = {
        "id": ident[:64], "name": f"name{number}", "image": "busybox", "image_id": "sha256:" + "b" * 64, "layers": (),
        "config": {}, "host_config": {}, "args": ("sh",), "created": number,
    }  # fmt: skip
    return Container(**(usual | special))


def an_image(number: int = 1, **special: Any) -> Image:
    ident = "sha256:" + f"{number:x}" * 64
    usual: dict[str, Any] = {
        "id": ident[:71], "manifest": "sha256:" + "e" * 64, "layers": (), "size": 1, "created": number, "pulled": 1,
    }  # fmt: skip
    return Image(**(usual | special))
