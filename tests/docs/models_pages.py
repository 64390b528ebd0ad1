"""Reference pages of what travels: kinds of documents, entities of the catalog."""

from __future__ import annotations

from pydantic import BaseModel

from shared.catalog.entities import ENTITIES
from shared.documents import KINDS, SCHEMA
from shared.documents.envelope import Accepted, Header, Submission
from tests.docs.fields import first_words, parts_of, table, types_section

ABSENCE = {
    "keep": "nothing happens to it",
    "delete": "it is deleted",
    "zero": "its quantity becomes 0",
    "ended": "its validity ends now",
}


def documents() -> str:
    """docs/reference/documents.md."""
    lines = [
        "# Kinds of documents",
        "",
        f"What a till hands in, by kind; the schema version that this build writes is {SCHEMA}. Fields that are not",
        "listed are kept and carried to the ERP unchanged. How to hand a document in:",
        "[connect POS software](../howto/connect-pos-software.md).",
        "",
        *types_section(),
        "## The request",
        "",
        "The body of `POST /v1/documents`, or one object of a spool file.",
        "",
        *table(Submission),
        "",
        "## The answer",
        "",
        *table(Accepted),
        "",
        "## The header",
        "",
        "What the agent seals together with the payload.",
        "",
        *table(Header),
        "",
    ]
    for kind, model in KINDS.items():
        lines += [f"## {kind}", "", *_about(model), *table(model), ""]
    return "\n".join(lines + _parts(list(KINDS.values())))


def catalog() -> str:
    """docs/reference/catalog.md."""
    lines = [
        "# Entities of the catalog",
        "",
        "What HQ publishes and tills read. How lists come in: [bring in a catalog](../howto/bring-in-a-catalog.md).",
        "",
        *types_section(),
    ]
    for name, entity in ENTITIES.items():
        scope = {
            "_base": "`base`",
            "_price_list": "`pricelist/` and its `price_list`",
            "_store": "`store/` and its `store` or `warehouse`; `base` where it has neither",
        }[entity.scope_of.__name__]
        lines += [
            f"## {name}",
            "",
            *_about(entity.model),
            f"Key: {', '.join(f'`{field}`' for field in entity.key_fields)}. Scope, unless a list names one: {scope}.",
            f"Missing from a complete list (`{entity.absence}`): {ABSENCE[entity.absence]}.",
            "",
            *table(entity.model),
            "",
        ]
    return "\n".join(lines + _parts([entity.model for entity in ENTITIES.values()]))


def _about(model: type[BaseModel]) -> list[str]:
    words = first_words(model)
    return [words, ""] if words else []


def _parts(models: list[type[BaseModel]]) -> list[str]:
    found = dict.fromkeys(part for model in models for part in parts_of(model))
    lines = ["## Parts", "", "Objects that stand inside the ones above.", ""]
    for part in found:
        lines += [f"### {part.__name__}", "", *_about(part), *table(part), ""]
    return lines if found else []
