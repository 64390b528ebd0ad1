"""What becomes of a document that its source has handed in before (S3). Pure.

Each kind of a source has a policy: `error` refuses a duplicate, `update` takes it as a newer version, `skip` passes
over it, `off` does not look. What makes a duplicate are the key fields; without any it is the source's own id.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from shared.canonical import canonical, parse
from shared.documents.fields import Code
from shared.errors import BadInput

ENVELOPE_FIELDS = ("number", "business_date", "outlet", "source_id")
"""Key fields that are not the payload's."""


class Policy(BaseModel):
    """The duplicate check of one kind."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    duplicate: Literal["error", "update", "skip", "off"] = "error"
    key: list[Code] = Field(
        default_factory=list,
        max_length=10,
        description=f"what counts: {', '.join(ENVELOPE_FIELDS)}, or fields of the payload such as customer or "
        "party.tax_id; the source's own id when empty",
    )


class Outcome(StrEnum):
    """What was done with a document; `replaced` and the rest are told in the reply."""

    ACCEPTED = "accepted"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    SKIPPED = "skipped"
    REFUSED = "refused"


class Known(NamedTuple):
    """The newest document of a key."""

    doc_no: int
    version: int
    content_hash: bytes


def decide(policy: Policy, known: Known | None, content_hash: bytes) -> Outcome:
    """What is done with a document of which *known* was there before."""
    if known is None or policy.duplicate == "off":
        return Outcome.ACCEPTED
    if policy.duplicate == "error":
        return Outcome.REFUSED
    if policy.duplicate == "skip":
        return Outcome.SKIPPED
    return Outcome.UNCHANGED if known.content_hash == content_hash else Outcome.UPDATED


def key_of(policy: Policy, envelope: Mapping[str, Any], payload: Mapping[str, Any]) -> str:
    """The values that make a duplicate, as one text.

    Raises:
        BadInput: the document lacks one of them, so nobody could tell whether it was here before.
    """
    return canonical([_value(name, envelope, payload) for name in policy.key or ["source_id"]]).decode()


def _value(name: str, envelope: Mapping[str, Any], payload: Mapping[str, Any]) -> Any:
    value: Any = envelope.get(name) if name in ENVELOPE_FIELDS else payload
    if name not in ENVELOPE_FIELDS:
        for step in name.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
    if value is None or value == "" or isinstance(value, Mapping | list):
        raise BadInput(
            f"the field {name} is a part of the duplicate check, and this document does not have it",
            hint="send it, or let HQ choose other key fields: `counterflow-central sources policy`",
            code="invalid-fields",
            fields=[{"field": name, "why": "needed for the duplicate check"}],
        )
    return value


def policies_of(text: str) -> dict[str, Policy]:
    """A source's policies as they are stored."""
    return {kind: Policy.model_validate(policy) for kind, policy in parse(text).items()}


def text_of(policies: Mapping[str, Policy]) -> str:
    return canonical({kind: policy.model_dump() for kind, policy in policies.items()}).decode()
