"""The runtime: executes an OCI bundle. Synchronous, single-threaded, imports the stdlib and prctl only."""
