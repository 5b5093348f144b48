"""What the API's bodies look like: one module a resource, in Docker's names. pydantic is used here and nowhere else.

Requests are validated by these models and handed to the engine as plain dictionaries. Answers are described by them,
for /docs and /openapi.json, and not validated: see ``responses``.
"""
