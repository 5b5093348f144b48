"""The REST API: Docker Engine API 1.47, described by FastAPI. ``create_app(engine)`` is the way in."""
