"""One tree of errors; whose fault it is stands in the type.

Every error says what happened, where, why, and what to do about it. At an HTTP door it becomes an RFC 9457 problem
(`shared.protocol.problems`), at the command line one line and an exit code.
"""

from __future__ import annotations

from typing import Any, ClassVar


class CounterflowError(Exception):
    """Base of all errors that Counterflow raises on purpose.

    Args:
        what: one sentence for the person who meets it: what happened, where and why.
        hint: what to do now; may be empty where `what` already says it.
        code: stable machine name (kebab-case); the class's own when not given.
        extra: further fields for the problem document, JSON values only.
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False

    def __init__(self, what: str, *, hint: str = "", code: str | None = None, **extra: Any) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint
        self.name = code or self.code
        self.extra = extra

    def __str__(self) -> str:
        return f"{self.what} ({self.hint})" if self.hint else self.what

    def told(self, *details: str) -> str:
        """As a command line prints it: what happened, details, what to do about it, each in a line of its own."""
        return "\n".join(
            [f"error: {self.what}", *(f"  {text}" for text in (*details, what_to_do(self.hint)) if text)]
        )


def what_to_do(hint: str) -> str:
    """How both command lines begin a hint; empty where there is none."""
    return f"what to do: {hint}" if hint else ""


# ---- the caller's fault: sending the same again will not help ----


class BadInput(CounterflowError):
    """What was sent cannot be understood or contradicts itself."""

    code = "bad-input"
    status = 422
    exit_code = 1


class TooLarge(BadInput):
    """A body, batch or document above its stated limit."""

    code = "too-large"
    status = 413


class NotAuthenticated(CounterflowError):
    """Nobody we know, or no longer: sign in again."""

    code = "not-authenticated"
    status = 401
    exit_code = 1


class NotAllowed(CounterflowError):
    """Known, but not allowed to do this."""

    code = "not-allowed"
    status = 403


class NotFound(CounterflowError):
    code = "not-found"
    status = 404


class MethodNotAllowed(CounterflowError):
    """The path is an operation's, the method is not."""

    code = "method-not-allowed"
    status = 405


class Conflict(CounterflowError):
    """What was sent contradicts what is already here; nothing was overwritten."""

    code = "conflict"
    status = 409


class Gone(CounterflowError):
    """A cursor or generation that is no longer offered: start again from a snapshot."""

    code = "gone"
    status = 410


# ---- the circumstances' fault: the same will work later ----


class Unavailable(CounterflowError):
    """A part that is needed cannot be reached just now."""

    code = "unavailable"
    status = 503
    exit_code = 69
    retryable = True


class CannotStore(Unavailable):
    """The disk refused a durable write (full, read-only, failing). Nothing was accepted."""

    code = "cannot-store"
    status = 507


class ConnectionFailed(Unavailable):
    """The other side was not reached, or what answered was not our server."""

    code = "connection-failed"
    exit_code = 69


class Busy(Unavailable):
    """Another process owns this database."""

    code = "busy"
    exit_code = 75


# ---- the installation's fault ----


class ConfigError(CounterflowError):
    """A setting is missing or wrong."""

    code = "config"
    exit_code = 78


class DamagedData(CounterflowError):
    """Stored bytes no longer fit their hash."""

    code = "damaged-data"
