"""The extended attributes that belong to an image; all others belong to the host.

Kept are ``user.*``, file capabilities and POSIX ACLs. ``trusted.*`` and ``user.overlay.*`` are overlayfs's own notes on
a directory: taken from an archive they would reach into other layers. SELinux and IMA labels are the host's policy.
Source: xattr(7), overlayfs.rst "Permission model" and "User xattr".
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping

CAPABILITY = b"security.capability"
_ACLS = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})


def belongs(name: bytes) -> bool:
    """Whether an attribute of this name is part of an image."""
    return name == CAPABILITY or name in _ACLS or (name.startswith(b"user.") and not name.startswith(b"user.overlay."))


def set_xattrs(file: int, xattrs: Mapping[bytes, bytes]) -> None:
    """Set those that belong on an open file. One that the file system doesn't know is left out, a capability never."""
    for name, value in xattrs.items():
        if not belongs(name):
            continue
        try:
            os.setxattr(file, name, value)
        except OSError as error:
            if error.errno != errno.ENOTSUP or name == CAPABILITY:
                raise


def get_xattrs(file: int | bytes) -> dict[bytes, bytes]:
    """Those that belong, of an open file or a path (its link not followed); sorted by name."""
    follow = isinstance(file, int)
    names = sorted(map(os.fsencode, os.listxattr(file, follow_symlinks=follow)))
    found = {}
    for name in filter(belongs, names):
        with contextlib.suppress(FileNotFoundError):
            found[name] = os.getxattr(file, name, follow_symlinks=follow)
    return found
