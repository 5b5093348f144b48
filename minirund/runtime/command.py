"""How the spawner is started: the one thing of the runtime that the daemon calls by name.

    ours, theirs = Channel.pair()
    subprocess.Popen(command(theirs.fileno()), pass_fds=[theirs.fileno()])
    theirs.close()
    ours.send(Launch(...), [report, ...])        # any number of times; close it, and the spawner ends

It runs isolated from the user's environment and without the site module (-I -S), which saves memory and time; so it is
told where its few modules are.
"""

from __future__ import annotations

import os
import sys

CODE = "import sys; sys.path += {path!r}; from minirund.runtime import sealed; sealed.main({control}, {descriptors})"


def module_path() -> list[str]:
    """The directories that hold minirund, cgroups and overlayfs, and prctl and pyseccomp."""
    import minirund  # noqa: PLC0415 - by its place we know ours

    ours = os.path.dirname(os.path.dirname(os.path.abspath(minirund.__file__)))
    theirs = (each for each in sys.path if os.path.exists(os.path.join(each, "prctl.py")))
    return [ours, *(os.path.abspath(each) for each in theirs if each != ours)]


def command(control: int, descriptors: tuple[int, int] | None = None) -> list[str]:
    """The command line of a spawner whose control socket (AF_UNIX, SOCK_SEQPACKET) it inherits as ``control``.

    ``descriptors``: the limit RLIMIT_NOFILE, soft and hard, that it and all containers begin with; None: as it is.
    """
    code = CODE.format(path=module_path(), control=control, descriptors=descriptors)
    return [os.path.realpath(sys.executable), "-I", "-S", "-c", code]
