#!/bin/sh
# The tests that want a whole machine: systemd, every controller on cgroup v2, and a kernel that holds project quotas. Run
# as root in the guest.
#   test.sh [FILES ...]    those alone, instead of all; files in one word are one run of pytest's
#   REPORT=DIRECTORY       write a JUnit report there for each
set -eu
cd "$(dirname "$0")/.."
kernel="tests/kernel/test_cgroups_hierarchy.py tests/kernel/test_cgroups_device_program.py
    tests/kernel/test_overlayfs_quota.py tests/kernel/test_engine_quota_crash.py"
[ $# -gt 0 ] || set -- "$kernel" tests/vm
code=0 number=0
for part in "$@"; do
    number=$((number + 1))
    report=
    [ -z "${REPORT:-}" ] || report="--junitxml=$REPORT/$number.xml"
    # shellcheck disable=SC2086 # files, as many as there are
    .venv/bin/python -m pytest -q -p no:cacheprovider -p no:anyio ${report:+"$report"} $part || code=$?
done
exit "$code"
