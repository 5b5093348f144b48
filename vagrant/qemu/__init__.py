"""A whole Linux machine without Vagrant: built with mmdebstrap, run by QEMU, spoken to over ssh.

    place.py     namespaces and a tmpfs that end with this program, however it ends
    disk.py      the cached disk: Debian, the project's dependencies, a kernel to boot
    machine.py   one running machine: start, ssh, reboot, power cut, off
    scenes.py    what a test wants from the host's side: install, reboot, cut, uninstall
    report.py    what was run, how long it took, and the journal when something failed
    __main__.py  `make vm-test`, `make vm-soak`, `make vm-shell`

Stdlib only. Vagrant runs the same two scripts, ../provision.sh and ../test.sh, in a machine of its own.
"""
