"""Shapes of integrations and what they carry."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from central.api.admin.shapes.shape import Shape, code_field
from shared.documents.fields import Code


class NewIntegration(Shape):
    name: str = code_field()
    connector: Code
    settings: dict[str, Any] = Field(default_factory=dict)
    kinds: list[Code] = Field(
        default_factory=list, max_length=100, description="document kinds that it takes"
    )
    from_time: str | None = Field(
        None, description="deliver documents received from here on; default: from now"
    )
    enabled: bool = True


class IntegrationRow(Shape):
    name: str
    connector: str
    settings: dict[str, Any]
    kinds: list[str]
    pulls: list[str]
    version: int
    enabled: bool
    from_time: str
    paused_until: str | None
    problem: str | None
    deliveries: dict[str, int] = Field(
        description="by state: gathering, grouped, ready, waiting, leased, done, skipped, parked"
    )


class Integrations(Shape):
    items: list[IntegrationRow]


class BatchRow(Shape):
    batch_id: str
    integration: str
    state: str
    documents: int
    attempts: int
    created: str
    done: str | None
    error: str | None


class Batches(Shape):
    items: list[BatchRow]


class Enable(Shape):
    from_time: str | None = Field(
        None, description="deliver documents received from here on; default: as before"
    )


class BatchOutcome(Shape):
    arrived: bool


class DeliveriesMoved(Shape):
    deliveries: int
