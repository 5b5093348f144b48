"""Images as Docker's clients want to read them. Pure: the record and the image's configuration in, JSON data out."""

from __future__ import annotations

from minirund.api.views import DRIVER, SECOND, rfc3339
from minirund.engine.records import Image, Json

_EMPTY_CONFIG: Json = {
    "Hostname": "",
    "Domainname": "",
    "User": "",
    "AttachStdin": False,
    "AttachStdout": False,
    "AttachStderr": False,
    "Tty": False,
    "OpenStdin": False,
    "StdinOnce": False,
    "Env": None,
    "Cmd": None,
    "Image": "",
    "Volumes": None,
    "WorkingDir": "",
    "Entrypoint": None,
    "OnBuild": None,
    "Labels": None,
}


def familiar(name: str) -> str:
    """A full name as users write it: docker.io/library/alpine:latest -> alpine:latest."""
    host, _, rest = name.partition("/")
    return rest.removeprefix("library/") if host == "docker.io" else name


def summary(image: Image, config: Json, containers: int = -1) -> Json:
    """A line of ``images``. ``containers``: how many use it, -1 for not counted."""
    return {
        "Id": image.id,
        "ParentId": "",
        "RepoTags": [familiar(name) for name in image.tags],
        "RepoDigests": [familiar(name) for name in image.digests],
        "Created": image.created // SECOND,
        "Size": image.size,
        "SharedSize": -1,
        "Labels": (config.get("config") or {}).get("Labels"),
        "Containers": containers,
    }


def inspect(image: Image, config: Json) -> Json:
    """All about an image."""
    view = {
        "Id": image.id,
        "RepoTags": [familiar(name) for name in image.tags],
        "RepoDigests": [familiar(name) for name in image.digests],
        "Parent": "",
        "Comment": _comment(config),
        "Created": config.get("created") or rfc3339(image.created),
        "DockerVersion": config.get("docker_version") or "",
        "Author": config.get("author") or "",
        "Config": _EMPTY_CONFIG | (config.get("config") or {}),
        "Architecture": config.get("architecture") or "",
        "Variant": config.get("variant") or "",
        "Os": config.get("os") or "linux",
        "Size": image.size,
        "GraphDriver": {"Name": DRIVER, "Data": None},
        "RootFS": {"Type": "layers", "Layers": (config.get("rootfs") or {}).get("diff_ids") or []},
        "Metadata": {"LastTagTime": rfc3339(image.pulled)},
    }
    return view if view["Variant"] else {key: value for key, value in view.items() if key != "Variant"}


def _comment(config: Json) -> str:
    steps = config.get("history") or [{}]
    return config.get("comment") or steps[-1].get("comment") or ""
