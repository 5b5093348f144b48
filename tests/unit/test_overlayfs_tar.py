"""The tar reader on every dialect, on what GNU tar and Python's tarfile write, and on what nobody should."""

from __future__ import annotations

import io
import os
import random
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars

from overlayfs.errors import BadArchive
from overlayfs.stream import Budget, Chunks
from overlayfs.tar import Entry, entries, nanoseconds, number, pax_records


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


def read(data: bytes, size: int = 1 << 20) -> list[tuple[Entry, bytes]]:
    chunks = Chunks(pieces(data, size), Budget(None))
    return [(entry, b"".join(map(bytes, chunks.pieces(entry.size)))) for entry in entries(chunks)]


def one(data: bytes) -> Entry:
    [(entry, _)] = read(data + tars.END)
    return entry


@pytest.mark.parametrize("size", [1, 7, 512, 513, 1 << 20])
def test_members_in_any_pieces(size: int) -> None:
    data = tars.archive(tars.member("a", b"x" * 700), tars.directory("d/"), tars.member("d/b", b"y", mode=0o4755))
    shown = [(entry.name, entry.kind, entry.mode, content) for entry, content in read(data, size)]
    assert shown == [(b"a", b"0", 0o644, b"x" * 700), (b"d/", b"5", 0o755, b""), (b"d/b", b"0", 0o4755, b"y")]


def test_data_that_nobody_reads_are_skipped() -> None:
    data = tars.archive(tars.member("a", b"x" * 5000), tars.member("b"))
    chunks = Chunks(pieces(data, 100), Budget(None))
    assert [entry.name for entry in entries(chunks)] == [b"a", b"b"]


def test_numbers() -> None:
    assert number(b"0000644\0", "x") == 0o644
    assert number(b"   644 \0", "x") == 0o644
    assert number(b"\0" * 8, "x") == 0
    assert number(tars.base256(1 << 40, 12), "x") == 1 << 40
    assert number(tars.base256(-5, 12), "x", signed=True) == -5
    for field in (b"12x\0", b"9", b"7 7", tars.base256(-1, 8), b"-7\0", b"\xe9abc"):
        with pytest.raises(BadArchive):
            number(field, "x")


def test_times() -> None:
    assert nanoseconds(b"1700000000.25", b"") == 1_700_000_000_250_000_000
    assert nanoseconds(b"5", b"") == 5_000_000_000
    assert nanoseconds(b"-1.5", b"") == -1_500_000_000
    assert nanoseconds(b"1.1234567899", b"") == 1_123_456_789
    for value in (b"", b".", b"x", b"1.x", b"1e9", b"inf", b"9" * 30):
        with pytest.raises(BadArchive):
            nanoseconds(value, b"")


def test_names() -> None:
    assert one(tars.member("file", prefix="some/where")).name == b"some/where/file"
    assert one(tars.member("x" * 100)).name == b"x" * 100
    assert one(tars.member("file", prefix="not ours", magic=b"ustar  \0")).name == b"file"
    assert one(tars.long_name(b"n" * 3000) + tars.member("short")).name == b"n" * 3000
    assert one(tars.pax({"path": "p" * 3000}) + tars.member("short")).name == b"p" * 3000
    assert one(tars.pax({"path": "p"}) + tars.long_name(b"n") + tars.member("short")).name == b"n"
    assert one(tars.member(b"\xff\xfe")).name == b"\xff\xfe"
    assert one(tars.long_link(b"l" * 3000) + tars.symlink("s", "t")).link == b"l" * 3000
    assert one(tars.pax({"linkpath": "l"}) + tars.symlink("s", "t")).link == b"l"


def test_old_directories_end_in_a_slash() -> None:
    assert one(tars.member("d/", kind=b"\0", magic=b"")).kind == b"5"
    assert one(tars.member("f", kind=b"7")).kind == b"0"


def test_pax_wins_over_the_header() -> None:
    records: dict[str, str | bytes] = {"uid": "3000000000", "gid": "4000000000", "mtime": "1.5", "size": "4"}
    [(entry, data)] = read(tars.archive(tars.pax(records), tars.member("f", b"data", size=0)))
    assert (entry.uid, entry.gid, entry.mtime, entry.size, data) == (3 * 10**9, 4 * 10**9, 1_500_000_000, 4, b"data")


def test_pax_holds_for_one_member_only() -> None:
    first, second = read(tars.archive(tars.pax({"path": "a", "uid": "7"}), tars.member("x"), tars.member("b")))
    assert (first[0].name, first[0].uid) == (b"a", 7)
    assert (second[0].name, second[0].uid) == (b"b", os.getuid())


def test_global_pax_headers_and_labels_say_nothing() -> None:
    entry = one(tars.pax({"path": "evil", "size": "999"}, kind="g") + tars.member("label", kind="V") + tars.member("f"))
    assert (entry.name, entry.size) == (b"f", 0)


def test_xattrs() -> None:
    value = b"\x01\x00\x00\n=\xff"
    entry = one(tars.pax({"SCHILY.xattr.security.capability": value, "SCHILY.xattr.user.empty": ""}) + tars.member())
    assert entry.xattrs == {b"security.capability": value, b"user.empty": b""}


def test_headers_of_links_and_directories_have_no_data() -> None:
    data = tars.archive(tars.header("d/", kind=tars.DIRTYPE, size=512), tars.member("f", b"x"))
    assert [entry.name for entry, _ in read(data)] == [b"d/", b"f"]


def test_ends() -> None:
    assert read(b"") == []
    assert read(tars.END) == []
    assert len(read(tars.member("a"))) == 1
    assert len(read(tars.archive(tars.member("a")) + b"what follows the end")) == 1


SPARSE_OLD = {
    386: b"00000000000\x0000000001000\0" + b"00000004000\x0000000000010\0",
    483: b"00000010000\0",
}


def test_sparse_gnu() -> None:
    [(entry, data)] = read(tars.archive(tars.header("s", SPARSE_OLD, kind="S", size=520) + tars.pad(b"x" * 520)))
    assert (entry.sparse, entry.length, len(data)) == ([(0, 512), (2048, 8)], 4096, 520)


def test_sparse_gnu_with_more_blocks() -> None:
    parts = [(number * 1024, 8) for number in range(30)]
    fields = [b"%011o\0%011o\0" % part for part in parts]
    head = {386: b"".join(fields[:4]), 482: b"\1", 483: b"%011o\0" % (1 << 20)}
    blocks = b"".join(fields[4:25]).ljust(504, b"\0") + b"\1" + bytes(7) + b"".join(fields[25:]).ljust(512, b"\0")
    data = tars.header("s", head, kind="S", size=240) + blocks + tars.pad(b"x" * 240)
    [(entry, _), (after, _)] = read(tars.archive(data, tars.member("after")))
    assert (entry.sparse, entry.length, after.name) == (parts, 1 << 20, b"after")


def test_sparse_pax() -> None:
    body = tars.header("s", size=4) + tars.pad(b"data")
    old: list[tuple[str, str | bytes]] = [("GNU.sparse.size", "100"), ("GNU.sparse.numblocks", "2")]
    old += [("GNU.sparse.offset", "0"), ("GNU.sparse.numbytes", "1")]
    old += [("GNU.sparse.offset", "50"), ("GNU.sparse.numbytes", "3")]
    middle: dict[str, str | bytes] = {"GNU.sparse.size": "100", "GNU.sparse.map": "0,1,50,3", "GNU.sparse.name": "real"}
    for entry in (one(tars.pax(old) + body), one(tars.pax(middle) + body)):
        assert (entry.sparse, entry.length) == ([(0, 1), (50, 3)], 100)
    assert one(tars.pax(middle) + body).name == b"real"
    records: dict[str, str | bytes] = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    records |= {"GNU.sparse.realsize": "100", "GNU.sparse.name": "new"}
    table = tars.pad(b"2\n0\n1\n50\n3\n")
    [(entry, data)] = read(tars.archive(tars.pax(records), tars.header("s", size=516) + table + tars.pad(b"data")))
    assert (entry.name, entry.sparse, entry.length, data) == (b"new", [(0, 1), (50, 3)], 100, b"data")


@pytest.mark.parametrize(
    "option", ["--format=gnu", "--sparse-version=0.0", "--sparse-version=0.1", "--sparse-version=1.0"]
)
def test_sparse_files_of_gnu_tar(tmp_path: Path, option: str) -> None:
    with (tmp_path / "holes").open("wb") as file:
        for at in range(40):
            file.seek(at << 20)
            file.write(b"%d" % at)
        file.truncate(50 << 20)
    (tmp_path / "after").write_bytes(b"after")
    command = ["tar", "-S", "-C", str(tmp_path), *(["--format=pax"] if "version" in option else []), option]
    data = subprocess.run([*command, "-c", "holes", "after"], stdout=subprocess.PIPE, check=True).stdout
    (entry, content), (after, _) = read(data)
    assert (entry.name, entry.length, after.name) == (b"holes", 50 << 20, b"after")
    filled, at = bytearray(entry.length), 0
    for offset, count in entry.sparse or ():
        filled[offset : offset + count] = content[at : at + count]
        at += count
    assert filled == (tmp_path / "holes").read_bytes()


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tarfile_writes(form: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        info = tarfile.TarInfo("directory/" + "n" * 90 + "/file")
        info.size, info.uid, info.gid, info.mtime, info.mode = 5, 123, 456, 1_000_000_000, 0o6711
        tar.addfile(info, io.BytesIO(b"hello"))
    [(entry, data)] = read(out.getvalue())
    assert (entry.name.decode(), entry.uid, entry.gid, entry.mode) == (info.name, 123, 456, 0o6711)
    assert (entry.mtime, data) == (10**18, b"hello")


BAD = {
    "garbage": b"this is no tar archive" * 100,
    "checksum": tars.header().replace(b"file", b"fail") + tars.END,
    "checksum, later": tars.member("a") + tars.header().replace(b"file", b"fail") + tars.END,
    "half a header": tars.header()[:300],
    "half the data": tars.member("f", b"x" * 1000)[:900],
    "zeros in the middle": tars.member("a") + bytes(512) + tars.member("b") + tars.END,
    "negative size": tars.header(size=-5) + tars.END,
    "size over 63 bits": tars.header(size=1 << 63) + tars.END,
    "size no number": tars.header(size=b"zzz") + tars.END,
    "mode no number": tars.header(mode=b"rw-r--r-") + tars.END,
    "user too large": tars.header(uid=1 << 32) + tars.END,
    "user minus one": tars.header(uid=(1 << 32) - 1) + tars.END,
    "negative user": tars.header(uid=-1) + tars.END,
    "time out of range": tars.header(mtime=1 << 80) + tars.END,
    "unknown type": tars.header(kind="Q") + tars.END,
    "multi-volume": tars.header(kind="M") + tars.END,
    "a pax header of 10 GB": tars.header(kind="x", size=10 << 30) + tars.END,
    "a negative pax header": tars.header(kind="x", size=-1) + tars.END,
    "a long name of 2 MB": tars.header(kind="L", size=2 << 20) + bytes(2 << 20) + tars.END,
    "pax without equals": tars.member("p", b"9 pathxx\n", kind="x") + tars.member() + tars.END,
    "pax length zero": tars.member("p", b"0 path=x\n", kind="x") + tars.member() + tars.END,
    "pax length beyond": tars.member("p", b"99 path=x\n", kind="x") + tars.member() + tars.END,
    "pax length no number": tars.member("p", b"x path=x\n", kind="x") + tars.member() + tars.END,
    "pax length signed": tars.member("p", b"-9 path=x\n", kind="x") + tars.member() + tars.END,
    "pax name with NUL": tars.pax({"path": b"a\0b"}) + tars.member() + tars.END,
    "pax link with NUL": tars.pax({"linkpath": b"a\0b"}) + tars.symlink("a", "b") + tars.END,
    "pax negative size": tars.pax({"size": "-1"}) + tars.member() + tars.END,
    "pax huge size": tars.pax({"size": "9" * 20}) + tars.member() + tars.END,
    "pax endless size": tars.pax({"size": "9" * 5000}) + tars.member() + tars.END,
    "pax size beyond the end": tars.pax({"size": "99999"}) + tars.member("f", b"x") + tars.END,
    "pax user": tars.pax({"uid": "root"}) + tars.member() + tars.END,
    "sparse backwards": tars.pax({"GNU.sparse.map": "50,1,0,1", "GNU.sparse.size": "99"}) + tars.member("s", b"xx"),
    "sparse overlap": tars.pax({"GNU.sparse.map": "0,2,1,1", "GNU.sparse.size": "99"}) + tars.member("s", b"xxx"),
    "sparse beyond": tars.pax({"GNU.sparse.map": "90,20", "GNU.sparse.size": "99"}) + tars.member("s", b"x" * 20),
    "sparse odd": tars.pax({"GNU.sparse.map": "0,1,2", "GNU.sparse.size": "99"}) + tars.member("s", b"x"),
    "sparse sum": tars.pax({"GNU.sparse.map": "0,10", "GNU.sparse.size": "99"}) + tars.member("s", b"x"),
    "sparse huge": tars.pax({"GNU.sparse.map": "0,1", "GNU.sparse.size": "9" * 19 + "9"}) + tars.member("s", b"x"),
    "sparse table endless": tars.pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": "9"})
    + tars.member("s", b"9" * 2000),
    "sparse table too long": tars.pax({"GNU.sparse.major": "1", "GNU.sparse.realsize": "9"})
    + tars.member("s", tars.pad(b"99999999\n")),
    "sparse negative": tars.header("s", {386: tars.base256(-1, 12) + b"1", 483: b"10"}, kind="S", size=1)
    + tars.pad(b"x"),
    "sparse blocks endless": tars.header("s", {482: b"\1"}, kind="S") + (b"1" * 504 + b"\1" + bytes(7)) * 50,
}


@pytest.mark.parametrize("name", BAD)
def test_bad(name: str) -> None:
    with pytest.raises(BadArchive) as caught:
        read(BAD[name])
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_records() -> None:
    assert pax_records(b"") == {}
    assert pax_records(tars.record("a", "1") + tars.record("b", b"\n=\0")) == {b"a": b"1", b"b": b"\n=\0"}
    assert pax_records(tars.record("a", "")) == {b"a": b""}


def test_any_damage_is_a_clear_error_or_another_archive() -> None:
    data = tars.archive(
        tars.pax({"path": "some/name", "mtime": "1.5", "SCHILY.xattr.user.x": "y"}) + tars.member("f", b"x" * 600),
        tars.long_name(b"n" * 200) + tars.symlink("s", "t"),
        tars.header("s", SPARSE_OLD, kind="S", size=520) + tars.pad(b"x" * 520),
    )
    chance = random.Random(1)
    for _ in range(3000):
        broken = bytearray(data)
        for _ in range(chance.randrange(1, 4)):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        start = chance.randrange(0, len(broken), 512)  # and the checksum made right again, to get past it
        block = broken[start : start + 512]
        block[148:156] = b" " * 8
        broken[start + 148 : start + 156] = b"%06o\0 " % sum(block)
        try:
            for entry, _ in read(bytes(broken[: chance.randrange(512, len(broken) + 1)]), 1000):
                assert entry.size >= 0
        except BadArchive:
            pass
