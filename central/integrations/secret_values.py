"""Secrets in an integration's settings: where they lie, and what others are shown of them.

`{env = "NAME"}` and `{file = "path"}` are looked up when a connector is built, so that neither the database nor an
export holds the secret itself. One that was written out is never shown again: lists and exports say `***`, and a
definition that says `***` keeps what was there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from central import audit
from shared.errors import BadInput, ConfigError

HIDDEN = "***"
FILE_MAX_BYTES = 64 << 10


def resolved(settings: Mapping[str, Any], environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The settings with every `{env = ..}` and `{file = ..}` replaced by what it names.

    Raises:
        ConfigError: a variable is not set, or a file cannot be read.
    """
    return {
        name: _resolve(value, name, os.environ if environ is None else environ)
        for name, value in settings.items()
    }


def _resolve(value: Any, where: str, environ: Mapping[str, str]) -> Any:
    if isinstance(value, list):
        return [_resolve(item, where, environ) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"env"}:
        name = str(value["env"])
        if not environ.get(name):
            raise ConfigError(
                f"{where}: the environment variable {name} is not set",
                hint="set it in this shell, and where the centre's server starts, on every node",
            )
        return environ[name]
    if value.keys() == {"file"}:
        path = Path(str(value["file"]))
        try:
            with path.open(encoding="utf-8") as file:
                return file.read(FILE_MAX_BYTES).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: the file {path} cannot be read: {error}") from None
    return {key: _resolve(item, f"{where}.{key}", environ) for key, item in value.items()}


def hidden(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as anybody may see them."""
    shown: dict[str, Any] = audit.masked(settings)
    return shown


def kept(new: Any, old: Any, where: str = "settings") -> Any:
    """*new* settings, in which `***` stands for what is in *old* at the same place.

    Raises:
        BadInput: there is nothing at that place.
    """
    if isinstance(new, dict):
        before = old if isinstance(old, dict) else {}
        return {key: kept(item, before.get(key), f"{where}.{key}") for key, item in new.items()}
    if new == HIDDEN:
        if old in (None, HIDDEN):
            raise BadInput(
                f'{where} is "{HIDDEN}", and no earlier version says what it is',
                hint='write the secret, or where it lies: {env = "NAME"} or {file = "path"}',
            )
        return old
    return new
