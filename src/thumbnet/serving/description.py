"""OpenAPI descriptions of the bodies that are read without FastAPI.

Reading them directly enforces the limits before anything is parsed.
"""

from typing import Any

_ERROR = {
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {"error": {"type": "string"}},
                "required": ["error"],
            }
        }
    }
}
# For every endpoint: one sentence says what is wrong.
ERRORS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request cannot be answered.", **_ERROR},
    "503": {"description": "The service is overloaded; see Retry-After.", **_ERROR},
}


def json_body(schema: dict[str, Any], text: str, required: bool = True) -> dict[str, Any]:
    """A JSON body."""
    return _body("application/json", schema, text, required)


def files_body(field: str, many: bool, text: str) -> dict[str, Any]:
    """A form with image files."""
    file = {"type": "string", "format": "binary"}
    schema = {
        "type": "object",
        "properties": {field: {"type": "array", "items": file} if many else file},
        "required": [field],
    }
    return _body("multipart/form-data", schema, text, True)


def _body(kind: str, schema: dict[str, Any], text: str, required: bool) -> dict[str, Any]:
    return {
        "requestBody": {
            "description": text,
            "required": required,
            "content": {kind: {"schema": schema}},
        }
    }
