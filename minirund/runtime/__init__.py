"""The runtime: from a bundle to a running container, and no further. Sync, one thread a process, little imported.

Read in this order: ``init`` (the steps from clone to execve), ``rootfs``, ``security``, ``program`` (what the steps
do), ``shim`` (the process that stays), ``stdio`` (where output goes), ``spawner`` (where shims come from).
``syscalls`` owns ctypes. The contract with the engine is ``minirund.wire`` and ``minirund.bundle``.
docs/how-a-container-starts.md walks through it.
"""
