"""scripts/make-busybox-image: the same bytes every time, and an archive that both kinds of reader understand."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "make-busybox-image"
pytestmark = pytest.mark.skipif(not os.path.exists("/bin/busybox"), reason="Debian's busybox-static is not installed")


def made(*words: str) -> bytes:
    return subprocess.run([SCRIPT, *words], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def archive() -> dict[str, bytes]:
    return unpacked(made())


def unpacked(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {member.name: reader.read() for member in tar if (reader := tar.extractfile(member))}


def blob(archive: dict[str, bytes], digest: str) -> bytes:
    data = archive["blobs/sha256/" + digest.removeprefix("sha256:")]
    assert "sha256:" + hashlib.sha256(data).hexdigest() == digest
    return data


def manifest(archive: dict[str, bytes]) -> dict[str, Any]:
    (entry,) = json.loads(archive["index.json"])["manifests"]
    whole: dict[str, Any] = json.loads(blob(archive, entry["digest"]))
    return whole


def layer(archive: dict[str, bytes]) -> tarfile.TarFile:
    (described,) = manifest(archive)["layers"]
    return tarfile.open(fileobj=io.BytesIO(blob(archive, described["digest"])))


def test_it_is_the_same_every_time(tmp_path: Path) -> None:
    made("--output", str(tmp_path / "image.tar"))
    assert (tmp_path / "image.tar").read_bytes() == made()


def test_the_configuration_names_the_layer_and_how_to_start(archive: dict[str, bytes]) -> None:
    described = manifest(archive)
    config = json.loads(blob(archive, described["config"]["digest"]))
    assert config["rootfs"]["diff_ids"] == [described["layers"][0]["digest"]]
    assert config["config"]["Cmd"] == ["sh"]
    assert config["config"]["Env"][0].startswith("PATH=/")
    assert config["os"] == "linux"


def test_docker_load_finds_the_same_blobs(archive: dict[str, bytes]) -> None:
    (entry,) = json.loads(archive["manifest.json"])
    described = manifest(archive)
    assert entry["RepoTags"] == ["busybox:latest"]
    assert entry["Config"] == "blobs/sha256/" + described["config"]["digest"].removeprefix("sha256:")
    assert entry["Layers"] == ["blobs/sha256/" + described["layers"][0]["digest"].removeprefix("sha256:")]


def test_the_root_file_system(archive: dict[str, bytes]) -> None:
    with layer(archive) as tar:
        members = {member.name: member for member in tar}
    assert members["bin/busybox"].mode == 0o755
    assert members["bin/busybox"].size == os.path.getsize("/bin/busybox")
    assert members["tmp"].mode == 0o1777
    assert members["bin/sh"].linkname == members["usr/bin/awk"].linkname == "/bin/busybox"
    assert {"etc/passwd", "etc/group", "root", "proc", "sys", "dev"} <= set(members)
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_another_name() -> None:
    archive = unpacked(made("--tag", "example.org/tools/box:1"))
    annotations = json.loads(archive["index.json"])["manifests"][0]["annotations"]
    assert annotations["io.containerd.image.name"] == "example.org/tools/box:1"
    assert json.loads(archive["manifest.json"])[0]["RepoTags"] == ["example.org/tools/box:1"]


def test_no_busybox_is_one_line_with_the_way_out() -> None:
    shown = subprocess.run([SCRIPT, "--busybox", "/no/busybox"], check=False, capture_output=True, text=True)
    assert shown.returncode == 2
    assert "apt-get install busybox-static" in shown.stderr.splitlines()[-1]


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
@pytest.mark.parametrize("kind", ["oci-archive", "docker-archive"])
def test_skopeo_reads_it_either_way(kind: str, tmp_path: Path) -> None:
    made("--output", str(tmp_path / "image.tar"))
    command = ["skopeo", "--insecure-policy", "copy", f"{kind}:{tmp_path}/image.tar", f"dir:{tmp_path}/copy"]
    subprocess.run(command, check=True, capture_output=True)
    copied = json.loads((tmp_path / "copy" / "manifest.json").read_text())
    assert len(copied["layers"]) == 1
