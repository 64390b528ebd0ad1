"""Shapes of API keys, consumers and the audit trail."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from central.api.admin.shapes.shape import Shape, code_field


class NewKey(Shape):
    name: str = code_field()
    role: Literal["read", "admin", "feed", "documents"]
    consumer: str | None = Field(None, description="for feed: whose key it is")
    source: str | None = Field(None, description="for documents: whose documents it hands in")
    outlet: str | None = Field(None, description="for documents: the store that they are of")


class NewKeyReply(Shape):
    name: str
    role: str
    key: str = Field(description="shown once")


class KeyRow(Shape):
    name: str
    role: str
    consumer: str | None
    source: str | None
    outlet: str | None
    created: str
    revoked: str | None


class Keys(Shape):
    items: list[KeyRow]


class NewConsumer(Shape):
    name: str = code_field()
    store: str = code_field()
    groups: list[str] = Field(default_factory=list, max_length=100)


class ConsumerCursor(Shape):
    entity: str
    confirmed: str
    rejected: list[dict[str, Any]]


class ConsumerRow(Shape):
    name: str
    store: str
    groups: list[str]
    created: str
    entities: list[ConsumerCursor]


class Consumers(Shape):
    items: list[ConsumerRow]


class AuditRow(Shape):
    audit_no: int
    at: str
    who: str
    what: str
    detail: Any


class Audit(Shape):
    items: list[AuditRow]
    next: str | None
