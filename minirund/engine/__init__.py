"""The engine: use cases by resource, async. It decides, writes bundles, and asks the runtime."""
