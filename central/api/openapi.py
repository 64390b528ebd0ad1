"""Describe every operation as OpenAPI 3.1, from the same declarations that serve it.

Pure: endpoints in, one JSON document out. Models become components under their class's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from central.api.http import Auth, Endpoint
from shared import __version__
from shared.protocol import problems

_PLACE = re.compile(r"\{([^{}:]+)(?::(?:[^{}]|\{[^{}]*\})*)?\}")  # {name}, {name:[0-9a-f]{64}}
References = dict[Any, dict[str, Any]]  # by model
_ROLE = {
    Auth.READ: "read or admin",
    Auth.ADMIN: "admin",
    Auth.FEED: "feed, read or admin",
    Auth.DOCUMENTS: "documents",
}
_PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `type` is stable; `detail` says what, where and why, `hint` what to do.",
    "required": ["type", "title", "status", "detail", "retryable"],
    "properties": {
        "type": {"type": "string", "examples": [problems.TYPE_PREFIX + "not-found"]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "retryable": {"type": "boolean"},
        "request_id": {"type": "string"},
    },
}


def describe(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The OpenAPI document of these operations."""
    models = _models(endpoints)
    schemas, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    references: References = {model: schema for (model, _), schema in schemas.items()}
    paths: dict[str, dict[str, Any]] = {}
    for operation in sorted(endpoints, key=lambda each: (each.path, each.method)):
        path = _PLACE.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, references)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Counterflow centre",
            "version": __version__,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": {**definitions.get("$defs", {}), "Problem": _PROBLEM},
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "An API key: `counterflow-central keys add`.",
                },
                "station": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A session token: `POST /v1/session`.",
                },
            },
        },
    }


def _security(auth: Auth) -> list[dict[str, list[str]]]:
    if auth is Auth.ANYONE:
        return []
    return [{"key": []}] if auth in _ROLE else [{"station": []}]


def _bearer(description: str) -> dict[str, str]:
    return {"type": "http", "scheme": "bearer", "description": description}


def _models(endpoints: Iterable[Endpoint]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {}
    for operation in endpoints:
        for model in (operation.request, operation.reply):
            if isinstance(model, type) and issubclass(model, BaseModel):
                found[model] = None
    return list(found)


def _operation(operation: Endpoint, references: References) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "tags": [_tag(operation.path)],
        "security": _security(operation.auth),
        "responses": {
            str(operation.status): {
                "description": operation.summary,
                "content": {operation.media: {"schema": _schema(operation.reply, references)}},
            },
            "default": {
                "description": "A refusal.",
                "content": {problems.CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if operation.auth in _ROLE:
        described["description"] = f"Needs an API key of role {_ROLE[operation.auth]}."
    parameters = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACE.findall(operation.path)
    ]
    parameters += [
        {"name": name, "in": "query", "description": text, "schema": {"type": "string"}}
        for name, text in operation.query.items()
    ]
    if parameters:
        described["parameters"] = parameters
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": _schema(operation.request, references)}},
        }
    return described


def _schema(model: Any, references: References) -> dict[str, Any]:
    return references.get(model, {}) if isinstance(model, type) else {}


def _operation_id(operation: Endpoint) -> str:
    words = re.findall(r"[A-Za-z0-9]+", _PLACE.sub(r"\1", operation.path))
    return "_".join([operation.method.lower(), *words])


def _tag(path: str) -> str:
    parts = path.strip("/").split("/")
    if parts[0] != "v1":
        return "system"
    return (
        parts[2]
        if parts[1] == "admin" and len(parts) > 2
        else parts[1]
        if parts[1] in ("feed", "documents")
        else "stations' line"
    )
