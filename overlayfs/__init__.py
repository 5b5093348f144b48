"""Image layers and the read-write layer of a container, on overlayfs. A library of its own; needs isal and zstandard.

A blob comes in by digest (``content``), a layer's tar becomes a directory (``layer``), directories become the
description of one overlay mount (``mount``), and what a container wrote becomes a list or a tar again (``diff``).
This package imports nothing by itself, so that ``import overlayfs.mount`` costs no more than that one module.
"""
