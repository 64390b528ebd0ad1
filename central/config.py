"""Settings of the centre: environment over TOML file over defaults, checked once at the start.

Every setting is one line here: code, `config check` and the reference page come from it. The environment names are
`COUNTERFLOW_CENTRAL_` and the setting's name in capitals, an empty one counting as unset; the file holds the same
names in lower case. An unknown name stops the start, wherever it stands.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import platformdirs
import pydantic
from pydantic import Field

from shared.errors import ConfigError
from shared.settings import unknown_variable

ENV_PREFIX = "COUNTERFLOW_CENTRAL_"
CONFIG_FILE_VARIABLE = ENV_PREFIX + "CONFIG"


def default_data_dir() -> Path:
    return Path(platformdirs.user_data_dir("counterflow-central", appauthor=False))


class Config(pydantic.BaseModel):
    """What an operator may choose."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    data_dir: Path = Field(
        default_factory=default_data_dir, description="Where the SQLite database and cached files lie."
    )
    database_url: str = Field(
        "", description="postgresql+asyncpg://user:password@host/name, or empty for SQLite in data_dir."
    )
    host: str = Field("127.0.0.1", description="Address to listen on; 0.0.0.0 for all.")
    port: int = Field(
        8470, ge=0, le=65_535, description="TCP port; 0 takes a free one and writes it to data_dir/port."
    )
    integrations_dir: Path | None = Field(
        None, description="Folder of integrations as TOML files; each is stated when it changes."
    )
    tls_cert: Path | None = Field(
        None, description="PEM file of the certificate chain; with tls_key the centre speaks HTTPS."
    )
    tls_key: Path | None = Field(None, description="PEM file of the certificate's key.")
    database_connections: int = Field(8, ge=2, le=200, description="Connections to PostgreSQL of one node.")
    safe_after_days: int = Field(
        35,
        ge=1,
        le=3_650,
        description="Documents count as safe so many days after they arrived, backup or not.",
    )
    minimum_agent: str = Field(
        "0.1.0",
        pattern=r"^\d+\.\d+\.\d+$",
        description="Oldest agent wanted: older ones work on, say so, and stand under `status`.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe events to log."
    )
    log_format: Literal["json", "text"] = Field("json", description="json for machines, text for people.")

    @pydantic.model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key belong together: give both or neither")
        return self

    @property
    def url(self) -> str:
        """The database's URL with the default filled in."""
        return self.database_url or f"sqlite+aiosqlite:///{self.data_dir / 'central.db'}"


def load(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Read the settings.

    Args:
        path: a TOML file; None takes the one that COUNTERFLOW_CENTRAL_CONFIG names, or none at all.
    Raises:
        ConfigError: a file that cannot be read, or a setting that is unknown or wrong; it names each.
    """
    environ = os.environ if environ is None else environ
    if path is None and environ.get(CONFIG_FILE_VARIABLE):
        path = Path(environ[CONFIG_FILE_VARIABLE])
    values = (_from_file(path) if path else {}) | _from_environment(environ)
    try:
        return Config.model_validate(values)
    except pydantic.ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'settings'}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        source = f"{path} or the environment" if path else "the environment"
        raise ConfigError(
            f"settings from {source}: {faults}", hint="`counterflow-central config check` lists them"
        ) from None


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    known = {ENV_PREFIX + name.upper(): name for name in Config.model_fields}
    for variable in environ:
        if variable.startswith(ENV_PREFIX) and variable not in (*known, CONFIG_FILE_VARIABLE):
            raise unknown_variable(variable, [*known, CONFIG_FILE_VARIABLE], "counterflow-central")
    return {name: text for variable, name in known.items() if (text := environ.get(variable))}


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not TOML: {error}") from None
