"""A container that may not change the project of its files, and one that may: e2fsprogs' chattr in it, the host's."""

from __future__ import annotations

import pytest
from bundles import Runtime, TestBundle

from minirund.engine import security

pytestmark = pytest.mark.root
CHANGE = "echo x >/tmp/file; mkdir /tmp/dir; chattr -p 5 /tmp/file; chattr +A /tmp/dir; lsattr -d /tmp/dir"
HOST = ("/usr", "/lib", "/lib64")


def with_programs_of_the_host(bundle: TestBundle) -> TestBundle:
    bundle.config["mounts"] += [
        {"destination": path, "type": "bind", "source": path, "options": ["rbind", "ro"]} for path in HOST
    ]
    return bundle


@pytest.mark.parametrize("filtered", [True, False])
def test_chattr_is_told_that_there_are_no_flags(runtime: Runtime, bundle: TestBundle, filtered: bool) -> None:
    if filtered:
        bundle.config["linux"]["seccomp"] = security.policy({}).seccomp
    bundle.config["minirund"]["keep_projects"] = True
    result = runtime.run(with_programs_of_the_host(bundle), "sh", "-c", CHANGE)
    assert result.stderr.count(b"Operation not supported") == 2, result.stderr
    assert b"A" not in result.stdout.split()[0]


def test_a_container_without_a_quota_has_its_flags(runtime: Runtime, bundle: TestBundle) -> None:
    bundle.config["linux"]["seccomp"] = security.policy({}).seccomp
    result = runtime.run(with_programs_of_the_host(bundle), "sh", "-c", CHANGE)
    assert b"A" in result.stdout.split()[0], result
