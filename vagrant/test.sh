#!/bin/sh
# The tests that want a whole machine: systemd, every controller on cgroup v2, and a kernel that holds project quotas. Run
# as root in the guest.
#   test.sh [FILE ...]    those alone, instead of all
#   REPORT=DIRECTORY      write a JUnit report there for each
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- tests/kernel/test_cgroups_hierarchy.py tests/kernel/test_cgroups_device_program.py \
    tests/kernel/test_overlayfs_quota.py tests/kernel/test_engine_quota_crash.py tests/vm
code=0
for part in "$@"; do
    report=
    [ -z "${REPORT:-}" ] || report="--junitxml=$REPORT/$(basename "$part" .py).xml"
    .venv/bin/python -m pytest -q -p no:cacheprovider ${report:+"$report"} "$part" || code=$?
done
exit "$code"
