"""A customer edited at the till: the change, not the record, so that nobody's other fields are lost (I18)."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.documents.fields import Code, Record


class FieldChange(Record):
    """One field: what the till saw, and what it says now."""

    old: Any = None
    new: Any = None


class CustomerChange(Record):
    """`base_version` is the catalog row's version that the till edited, absent for a new customer."""

    key: Code
    base_version: Code | None = None
    fields: dict[str, FieldChange] = Field(min_length=1, max_length=200)
