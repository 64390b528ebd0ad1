"""Reference pages of the two HTTP APIs: the centre's from its declared operations, the agent's from its handlers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel

from central.api.admin import AdminApi
from central.api.catalog import CatalogApi
from central.api.http import Auth, Endpoint
from central.api.openapi import describe
from central.api.stations import StationApi
from central.api.system import SystemApi
from edge_agent.api import lookup
from edge_agent.api.local import LocalApi
from tests.docs.fields import cell

PLACE = re.compile(r"\{(\w+):(?:[^{}]|\{[^{}]*\})*\}")
APIS = (StationApi, CatalogApi, AdminApi, SystemApi)
WHO = {
    Auth.ANYONE: "anyone",
    Auth.STATION: "a station, with its session token",
    Auth.SESSION: "a station, with its session token",
    Auth.READ: "an API key of role read or admin",
    Auth.ADMIN: "an API key of role admin",
    Auth.FEED: "an API key of role feed, read or admin",
}


def endpoints() -> list[Endpoint]:
    """Every operation of the centre, by path."""
    found = [
        operation
        for api in APIS
        for name in dir(api)
        if (operation := getattr(getattr(api, name), "endpoint", None)) is not None
    ]
    return sorted(found, key=lambda operation: (operation.path, operation.method))


def local_operations() -> Iterator[tuple[str, str, str]]:
    """Method, path and meaning of every operation of the agent's local API."""
    app = LocalApi(
        *cast(Any, (None, None, None)), **cast(Any, dict.fromkeys(("status", "ready", "sync_now")))
    ).make_app()
    said = dict(_said(LocalApi))
    for route in app.router.routes():
        path = _plain(route.resource.canonical if route.resource else "")
        if route.method not in ("HEAD", "*"):
            yield route.method, path, said[f"{route.method} {path}"]
    for definition in lookup.routes(cast(Any, None), cast(Any, None)):
        meaning = " ".join((definition.handler.__doc__ or "").split())
        yield definition.method, _plain(definition.path), meaning


def centre() -> str:
    """docs/reference/http-centre.md."""
    lines = [
        "# HTTP API of the centre",
        "",
        "All shapes stand in the centre's own `/openapi.json`; what the stations' line means is told by",
        "[the protocol](../protocol/README.md). A refusal is a [problem](errors.md). A credential travels as",
        "`Authorization: Bearer ...`; API keys are made with `counterflow-central keys add`.",
        "",
    ]
    described = describe(endpoints())["paths"]
    by_tag: dict[str, list[str]] = {}
    for operation in endpoints():
        tag = described[_plain(operation.path)][operation.method.lower()]["tags"][0]
        by_tag.setdefault(tag, []).extend(_operation(operation))
    for tag, operations in sorted(by_tag.items()):
        lines += [f"## {tag[0].upper()}{tag[1:]}", "", *operations]
    return "\n".join(lines)


def agent() -> str:
    """docs/reference/http-agent.md."""
    lines = [
        "# Local HTTP API of the agent",
        "",
        "For programs of the till's PC, at `http://127.0.0.1:8077` (setting `local_port`). Everything but `/healthz`,",
        "`/readyz` and `/version` needs `Authorization: Bearer TOKEN`; the token stands in the file `token` of the",
        "data folder. How to use it: [connect POS software](../howto/connect-pos-software.md). A refusal is a",
        "[problem](errors.md).",
        "",
    ]
    for method, path, meaning in local_operations():
        lines += [f"## {method} {path}", "", meaning, ""]
    return "\n".join(lines)


def _operation(operation: Endpoint) -> list[str]:
    summary = operation.summary if operation.summary.endswith(".") else operation.summary + "."
    lines = [
        f"### {operation.method} {_plain(operation.path)}",
        "",
        f"{summary} For {WHO[operation.auth]}.",
        "",
    ]
    if operation.query:
        lines += ["| query | meaning |", "|---|---|"]
        lines += [f"| `{name}` | {cell(text)} |" for name, text in operation.query.items()]
        lines.append("")
    for word, model in (("Body", operation.request), ("Answer", operation.reply)):
        if isinstance(model, type) and issubclass(model, BaseModel) and model.model_fields:
            lines += [f"{word}: {_fields(model)}.", ""]
    return lines


def _fields(model: type[BaseModel]) -> str:
    needed = [f"`{name}`" for name, field in model.model_fields.items() if field.is_required()]
    other = [f"`{name}`" for name, field in model.model_fields.items() if not field.is_required()]
    parts = [", ".join(needed)] if needed else []
    if other:
        parts.append(("may have " if needed else "") + ", ".join(other))
    return "; ".join(parts)


def _said(api: type) -> Iterator[tuple[str, str]]:
    """`METHOD path` and meaning, from docstrings that begin with them."""
    for member in vars(api).values():
        where, colon, meaning = " ".join((getattr(member, "__doc__", None) or "").split()).partition(": ")
        if colon and where.split(" ")[0] in ("GET", "POST"):
            yield where, meaning[:1].upper() + meaning[1:]


def _plain(path: str) -> str:
    """The path without the patterns of its places."""
    return PLACE.sub(r"{\1}", path)
