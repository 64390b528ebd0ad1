"""What all shapes are.

Times are RFC 3339 in UTC, money is minor units, lists are pages: `next` is the cursor of the next page, or null.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from shared.ids import CODE_PATTERN

DAY_S = 86_400
CODE_DAYS = 14
"""How long an enrolment code may be used unless HQ says otherwise: time to post a letter and to install a till."""


class Shape(BaseModel):
    """A request: a field that nobody knows is a typing error and is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # built when first used


def code_field(default: Any = ..., description: str = "") -> Any:
    # Told in the schema, checked in words by `shared.ids.check_code` where the code is used.
    schema: dict[str, Any] = {"pattern": CODE_PATTERN} if default is ... else {}
    return Field(default, max_length=200, description=description, json_schema_extra=schema)
