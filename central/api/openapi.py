"""Describe every operation as OpenAPI 3.1, from the same declarations that serve it.

Pure: endpoints in, one JSON document out. Models become components under their class's name, so two models of one
name are an error here and not a riddle in a client.
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

_PLACE = re.compile(r"\{([^}:]+)(?::[^}]*)?\}")
_SECURITY: dict[Auth, list[dict[str, list[str]]]] = {
    Auth.ANYONE: [],
    Auth.STATION: [{"station": []}],
    Auth.READ: [{"key": []}],
    Auth.ADMIN: [{"key": []}],
    Auth.FEED: [{"key": []}],
}
_ROLE = {Auth.READ: "read or admin", Auth.ADMIN: "admin", Auth.FEED: "feed, read or admin"}
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
    names = _names(models)
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, dict[str, Any]] = {}
    for operation in sorted(endpoints, key=lambda each: (each.path, each.method)):
        path = _PLACE.sub(r"{\1}", operation.path)
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation, names)
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


def _bearer(description: str) -> dict[str, str]:
    return {"type": "http", "scheme": "bearer", "description": description}


def _models(endpoints: Iterable[Endpoint]) -> list[type[BaseModel]]:
    found: dict[type[BaseModel], None] = {}
    for operation in endpoints:
        for model in (operation.request, operation.reply):
            if isinstance(model, type) and issubclass(model, BaseModel):
                found[model] = None
    return list(found)


def _names(models: Iterable[type[BaseModel]]) -> dict[type[BaseModel], str]:
    names: dict[str, type[BaseModel]] = {}
    for model in models:
        if names.setdefault(model.__name__, model) is not model:
            raise ValueError(
                f"two models of the API are called {model.__name__}: {model} and {names[model.__name__]}"
            )
    return {model: name for name, model in names.items()}


def _operation(operation: Endpoint, names: dict[type[BaseModel], str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": _operation_id(operation),
        "tags": [_tag(operation.path)],
        "security": _SECURITY[operation.auth],
        "responses": {
            str(operation.status): {
                "description": operation.summary,
                "content": {operation.media: {"schema": _schema(operation.reply, names)}},
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
            "content": {"application/json": {"schema": _schema(operation.request, names)}},
        }
    return described


def _schema(model: Any, names: dict[type[BaseModel], str]) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{names[model]}"} if model in names else {}


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
        else "feed"
        if parts[1] == "feed"
        else "stations' line"
    )
