"""The REST API: Docker Engine API 1.47 on FastAPI. ``create_app(engine)`` is the way in."""
