"""Mount options in words -> flags."""

from __future__ import annotations

from minirund.runtime import mounts
from minirund.runtime import syscalls as sys
from minirund.runtime.mounts import Options, parse


def test_flags_and_data() -> None:
    found = parse(("nosuid", "noexec", "mode=755", "size=1m", "ro"))
    assert found == Options(on=sys.MS_NOSUID | sys.MS_NOEXEC | sys.MS_RDONLY, data="mode=755,size=1m")


def test_a_later_word_wins() -> None:
    found = parse(("ro", "rw", "noexec", "exec", "nodev"))
    assert (found.on, found.off) == (sys.MS_NODEV, sys.MS_RDONLY | sys.MS_NOEXEC)


def test_binds_and_propagation() -> None:
    assert parse(("rbind", "rslave")) == Options(
        bind=True, recursive=True, propagation=sys.MS_SLAVE, propagate_below=True
    )
    assert parse(("bind", "private")) == Options(bind=True, propagation=sys.MS_PRIVATE)


def test_words_that_mean_nothing_here() -> None:
    assert parse(("defaults", "nofail")) == Options()


def test_attributes_and_access_times() -> None:
    assert mounts.attributes(sys.MS_RDONLY | sys.MS_NODEV | sys.MS_NOATIME) == (
        sys.MOUNT_ATTR_RDONLY | sys.MOUNT_ATTR_NODEV
    )
    assert mounts.times(sys.MS_NOATIME) == sys.MOUNT_ATTR_NOATIME
    assert mounts.times(sys.MS_RELATIME) == 0
    assert mounts.times(0) is None
