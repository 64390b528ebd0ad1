"""The envelope of a document: the header that is hashed with it, and the form in which a till hands it in."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from shared.documents.fields import BusinessDate, Code, DocId, Record, Time


class Header(Record):
    """What the station says about a document, sealed with its payload and never changed after.

    `refs` are the documents that this one corrects: it is applied after them. `offset_ms` is what the station last
    knew of (centre's time - device time); `tick_ms` counts on within one `boot`, so a jump of the clock can be seen.
    """

    doc_id: DocId
    kind: Code
    version: int = Field(ge=1, description="schema version of the payload")
    time: Time = Field(description="device time when it was sealed")
    zone: str = Field(max_length=60, description="IANA zone of the store")
    store: Code | None = Field(None, description="the store that it was sold for; a till may be moved later")
    boot: str = Field(max_length=40)
    tick_ms: int
    offset_ms: int | None
    business_date: BusinessDate
    number: Code = Field(description="number for people; may repeat after a restore, doc_id never does")
    refs: list[DocId] = Field(default_factory=list, max_length=100)


class Submission(Record):
    """What POS software hands in: the local API's body, a spool file's object.

    `doc_id`, `business_date` and `time` are drawn by the agent when the till does not give them.
    """

    kind: Code
    payload: dict[str, Any]
    doc_id: DocId | None = None
    business_date: BusinessDate | None = None
    time: Time | None = None
    number: Code | None = Field(None, description="the till's own number, where it has one")


class Accepted(Record):
    """The answer to a submission: it is on the disk, print the receipt."""

    doc_id: DocId
    kind: Code
    number: Code
    reference: str = Field(description="unique for ever: 50 bits of the epoch and the seq")
    epoch: str
    seq: int
    business_date: BusinessDate
    status: str = "accepted"
