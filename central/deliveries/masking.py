"""What may be kept of a request and its answer: no secret, no card number, and not more than anybody reads. Pure.

Secrets are found twice: by their value, where the integration's settings hold it, and by the name that stands before
them in headers, JSON, forms, addresses and XML.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Collection, Iterator
from typing import Any
from urllib.parse import quote

from shared.codes import mask_card_numbers

TEXT_MAX = 4_000
"""Characters kept of a request or an answer."""
_READ_MAX = 4 * TEXT_MAX
_TAIL = 256
"""Left out where a text was cut before it was masked: a secret that lies across the cut is not known any more."""
_SHORTEST = 4
"""A shorter value would mask half of every text."""
MASK = "***"

# Every repetition is bounded, so that no text takes longer than its length.
_NAME = (
    r"(?:password|passwd|secret|token|api[_-]?key|credential|session[_-]?id|authorization|cookie)[\w.-]{0,40}"
)
_HEADER = re.compile(rf"(?im)^([ \t]*[\w-]{{0,40}}?{_NAME}[ \t]*:[ \t]*)(?![\"{{\[\s]).+$")
_PAIR = re.compile(rf"(?i)({_NAME}\"?\s{{0,4}}[:=]\s{{0,4}})(\"(?:[^\"\\]|\\.)*\"?|[^\s,;&}}\]\"<>]+)")
_ELEMENT = re.compile(rf"(?i)(<[\w:.-]{{0,40}}?{_NAME}(?:\s[^<>]{{0,400}})?>)[^<]*")
_USER = re.compile(r"(://)[^/\s@]{1,200}@")
_SECRET_SETTING = re.compile(r"password|secret|token|passwd|api_?key|credential|login", re.IGNORECASE)


def secrets_of(settings: Any, name: str = "") -> Iterator[str]:
    """The values in settings whose names say that they are secret."""
    if isinstance(settings, dict):
        for key, value in settings.items():
            yield from secrets_of(value, str(key))
    elif isinstance(settings, list | tuple):
        for value in settings:
            yield from secrets_of(value, name)
    elif isinstance(settings, str) and len(settings) >= _SHORTEST and _SECRET_SETTING.search(name):
        yield settings


def masked(text: str, secrets: Collection[str] = ()) -> str:
    """*text* without secrets and card numbers, cut to `TEXT_MAX`."""
    shown = text[:_READ_MAX]
    for secret in sorted(secrets, key=len, reverse=True):
        for form in (secret, quote(secret, safe=""), base64.b64encode(secret.encode()).decode()):
            shown = shown.replace(form, MASK)
    shown = _HEADER.sub(rf"\g<1>{MASK}", shown)
    shown = _PAIR.sub(_hide_value, shown)
    shown = _ELEMENT.sub(rf"\g<1>{MASK}", shown)
    shown = _USER.sub(rf"\g<1>{MASK}@", shown)
    shown = mask_card_numbers(shown)
    if len(text) > _READ_MAX:
        shown = shown[:-_TAIL]
    if len(shown) <= TEXT_MAX and len(text) <= _READ_MAX:
        return shown
    return f"{shown[:TEXT_MAX]}... ({len(text)} characters)"


def _hide_value(found: re.Match[str]) -> str:
    return f'{found[1]}"{MASK}"' if found[2].startswith('"') else f"{found[1]}{MASK}"
