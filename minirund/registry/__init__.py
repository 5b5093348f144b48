"""The distribution protocol: references, authentication, manifests and blobs of a registry."""
