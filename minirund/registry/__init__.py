"""The distribution protocol: how images travel from a registry.

``reference`` reads names, ``manifest`` reads documents (both pure); ``auth`` answers a registry's challenges;
``transport`` makes one HTTP request with its retries; ``client`` is what the engine uses: manifests and blobs of one
repository. Nothing here knows the store, the daemon or the API. (OCI distribution-spec; Docker Registry HTTP API V2.)
"""
