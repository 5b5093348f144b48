"""minirund: a container engine that makes containers itself.

The command (``minirun``), the daemon (``minirund``) and the runtime share this package, so importing it must cost
nothing: nothing is imported here. ``docs/architecture.md`` says who talks to whom.
"""

__version__ = "0.1.0"
