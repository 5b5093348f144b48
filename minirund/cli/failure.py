"""How a command fails: as one exception that carries its line of text and its exit code.

::

    Failure                 one line on stderr, exit code 1 (125 from `run`)
      UsageError            the same, and a pointer to the command's --help
    minirund.client.*       what the daemon or the connection to it said; put into words in ``minirund.cli``
"""


class Failure(Exception):
    """The command can't be done. ``code`` is the exit code; None leaves it to the command's own rule."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code


class UsageError(Failure):
    """The command line itself is wrong."""
