#!/bin/bash
# Turn a fresh Debian into a machine with minirund: packages, a virtual environment for the tests, and what `make
# install` installs, with its systemd units enabled. Run as root in the guest, by `vagrant up` and by `make vm-test`;
# running it again brings the installation up to date with the tree.
#   provision.sh [all]     everything
#   provision.sh prepare   the slow half, which needs the network: no service is touched (a chroot will do)
#   WHEELS=DIRECTORY       with prepare: keep the wheels of all dependencies there, to install without the network
set -euo pipefail
cd "$(dirname "$0")/.."
stamp=.venv/.provisioned
pip=".venv/bin/pip --disable-pip-version-check --quiet --quiet"

say() { echo "-- $*"; }

# The virtual environment that runs the tests. The program has another one, in /opt/minirund.
test_environment() {
    [ "$(cat "$stamp" 2>/dev/null)" != "$(sha256sum <pyproject.toml)" ] || return 0
    say "Python packages for the tests"
    [ -x .venv/bin/python ] || /usr/bin/python3 -m venv .venv
    $pip install --editable '.[dev]' --config-settings editable_mode=compat
    sha256sum <pyproject.toml >"$stamp"
}

wheels() {
    [ -n "${WHEELS:-}" ] || return 0
    say "wheels of the dependencies"
    $pip wheel --use-pep517 --wheel-dir "$WHEELS" . 'setuptools>=68' wheel
    rm -f "$WHEELS"/minirund-*.whl
}

enable() {
    systemctl enable --now --quiet minirund.service minirund.socket
    say "$(systemctl is-active minirund.service): minirund.service"
}

# Something to run: alpine where Docker Hub can be reached, and always the image made here, which tests use.
images() {
    minirun image inspect busybox >/dev/null 2>&1 || scripts/make-busybox-image | minirun load
    minirun image inspect alpine >/dev/null 2>&1 || timeout 60 minirun pull --quiet alpine ||
        { say "alpine can't be pulled: busybox takes its name"; minirun tag busybox alpine; }
}

scripts/install-packages run
test_environment
wheels
[ "${1:-all}" = all ] || exit 0
say "make install"
make --silent install
enable
images
