"""The bad days of other systems, by name. A rig makes them happen; the suite shows that nothing is lost or doubled."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    LOST_ANSWER = "lost answer after commit"
    DOUBLED_REQUEST = "doubled request"
    BUSY_429 = "storm of 429"
    BUSY_503 = "storm of 503"
    DENIED_403 = "storm of 403"
    ERROR_BODY = "200 with an error body"
    HALF_BATCH = "half a batch accepted"
    REORDERED = "reordered pages"
    CHANGING_PAGE = "a page that changes while it is read"
    SLOW_ANSWER = "slow answer"
    CUT_ANSWER = "cut answer"
    SESSION_LOST = "session loss"
    WRONG_CREDENTIALS = "wrong credentials"
    CLOCK_OFF = "clock off"
    LATE_COMMIT = "a late commit behind a cursor"
    DEACTIVATED = "a record deactivated"
    SHARED_BARCODE = "two records with one barcode"


OUT = (
    Fault.LOST_ANSWER,
    Fault.DOUBLED_REQUEST,
    Fault.BUSY_429,
    Fault.BUSY_503,
    Fault.DENIED_403,
    Fault.ERROR_BODY,
    Fault.HALF_BATCH,
    Fault.SLOW_ANSWER,
    Fault.CUT_ANSWER,
    Fault.SESSION_LOST,
)
"""Those that meet a send."""
IN = (
    Fault.REORDERED,
    Fault.CHANGING_PAGE,
    Fault.LATE_COMMIT,
    Fault.CLOCK_OFF,
    Fault.DEACTIVATED,
    Fault.SHARED_BARCODE,
)
"""Those that meet a reader."""
