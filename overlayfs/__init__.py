"""overlayfs"""
