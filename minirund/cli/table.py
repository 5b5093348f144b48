"""Every command there is: its long name, its short one, the module that does it, and a line of help.

Nothing is imported here, so that finding a command costs nothing; ``load`` imports the one module asked for, whose
``COMMANDS`` holds the options under the same key.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from minirund.cli.options import Command

NOT_YET = frozenset(
    "build buildx builder commit compose context cp export import login logout network plugin push save search "
    "secret service stack swarm volume".split()
)
"""Docker's commands that are not here yet."""

GROUPS = {
    "container": "Manage containers",
    "image": "Manage images",
    "system": "Manage the engine",
    "completion": "Print a script that completes commands, options and names for a shell",
}
COMMON = ("run", "exec", "ps", "pull", "images", "version", "info")


class Entry:
    """One command. ``names``: every way to call it, the long form first. ``key``: its place in the module."""

    __slots__ = ("key", "module", "names", "text")

    def __init__(self, key: str, module: str, names: str, text: str) -> None:
        self.key = key
        self.module = module
        self.names = tuple(name.strip() for name in names.split(","))
        self.text = text

    @property
    def short(self) -> str:
        """The name of one word, or "" where there is none."""
        return next((name for name in self.names if " " not in name), "")


ENTRIES = (
    Entry("attach", "attach", "container attach, attach", "Connect this terminal to a running container"),
    Entry("create", "run", "container create, create", "Make a container without starting it"),
    Entry("diff", "lifecycle", "container diff, diff", "Show what a container changed in its filesystem"),
    Entry("exec", "exec", "container exec, exec", "Run a command in a running container"),
    Entry("container inspect", "inspect", "container inspect", "Show everything known of one or more containers"),
    Entry("kill", "lifecycle", "container kill, kill", "Send a signal to one or more running containers"),
    Entry("logs", "logs", "container logs, logs", "Show what a container has written"),
    Entry("container prune", "prune", "container prune", "Remove all stopped containers"),
    Entry("ps", "ps", "container ls, container list, container ps, ps", "List containers"),
    Entry("pause", "lifecycle", "container pause, pause", "Freeze all processes of one or more containers"),
    Entry("port", "lifecycle", "container port, port", "List a container's published ports"),
    Entry("rename", "lifecycle", "container rename, rename", "Give a container another name"),
    Entry("restart", "lifecycle", "container restart, restart", "Stop and start one or more containers"),
    Entry("rm", "lifecycle", "container rm, container remove, rm", "Remove one or more containers"),
    Entry("run", "run", "container run, run", "Make a container from an image and run a command in it"),
    Entry("start", "attach", "container start, start", "Start one or more stopped containers"),
    Entry("stats", "stats", "container stats, stats", "Show what containers use, or what they wait for"),
    Entry("stop", "lifecycle", "container stop, stop", "Stop one or more running containers"),
    Entry("top", "lifecycle", "container top, top", "Show the processes of a container"),
    Entry("unpause", "lifecycle", "container unpause, unpause", "Thaw all processes of one or more containers"),
    Entry("update", "update", "container update, update", "Change what containers were created with"),
    Entry("wait", "lifecycle", "container wait, wait", "Wait until containers stop and print their exit codes"),
    Entry("history", "history", "image history, history", "Show the steps that an image was made in"),
    Entry("image inspect", "inspect", "image inspect", "Show everything known of one or more images"),
    Entry("load", "images", "image load, load", "Load images from a tar archive or standard input"),
    Entry("images", "images", "image ls, image list, images", "List images"),
    Entry("image prune", "prune", "image prune", "Remove images that are not in use"),
    Entry("pull", "pull", "image pull, pull", "Fetch an image from a registry"),
    Entry("rmi", "images", "image rm, image remove, rmi", "Remove one or more images"),
    Entry("tag", "images", "image tag, tag", "Give an image another name"),
    Entry("df", "df", "system df", "Show what takes space on the disk"),
    Entry("events", "events", "system events, events", "Watch what happens in the engine"),
    Entry("info", "info", "system info, info", "Describe the engine and its host"),
    Entry("system prune", "prune", "system prune", "Remove what is not in use"),
    Entry("inspect", "inspect", "inspect", "Show everything known of containers and images"),
    Entry("version", "version", "version", "Show the versions of command and engine"),
    Entry("bash", "completion", "completion bash", "Print the script for bash"),
    Entry("zsh", "completion", "completion zsh", "Print the script for zsh"),
    Entry("__complete", "completion", "__complete", ""),
)


def find(name: str) -> Entry | None:
    """The command called ``name``, one word or two."""
    return next((entry for entry in ENTRIES if name in entry.names), None)


def visible() -> list[Entry]:
    """The commands that help and completion show."""
    return [entry for entry in ENTRIES if entry.text]


def load(entry: Entry) -> Command:
    """Import the command's module and hand out its table."""
    module = __import__(f"minirund.cli.{entry.module}", fromlist=["COMMANDS"])
    found: Command = module.COMMANDS[entry.key]
    return found
