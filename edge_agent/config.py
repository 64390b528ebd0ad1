"""Settings of one agent: what the environment says, over the TOML file, over the defaults.

Several stations on one PC are several *instances*: each has its own data folder and port, its own table
`[instances.NAME]` in the file, and is chosen with `--instance NAME`. An unknown setting is an error, since a
misspelt one would silently keep its default. A variable that is empty counts as not set.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import ConfigError
from shared.ids import CODE_PATTERN
from shared.protocol.problems import from_validation
from shared.settings import unknown_variable

ENV_PREFIX = "COUNTERFLOW_AGENT_"
FILE_NAME = "agent.toml"
DEFAULT_INSTANCE = "default"
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


class AgentConfig(BaseModel):
    """All settings of one instance. Each description is the setting's line in the reference."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    instance: str = Field(
        DEFAULT_INSTANCE, pattern=CODE_PATTERN, description="Name of this station's agent on this machine."
    )
    data_dir: Path = Field(
        description="Folder of journal, catalog, identity, spool and token; one for each instance."
    )

    server_url: str = Field(
        "",
        pattern=r"^(https?://[^/\s]+.*)?$",
        description="URL of the centre; the one of the enrolment when empty.",
    )
    ca_file: Path | None = Field(
        None, description="PEM file of certificates to trust instead of the system's."
    )
    proxy: str = Field(
        "",
        pattern=r"^(system|https?://\S+)?$",
        description='HTTP proxy to the centre as a URL; "system" takes the environment\'s.',
    )

    local_port: int = Field(
        8077,
        ge=0,
        le=65535,
        description="Port of the local API; 0 takes a free one, written to data_dir/port.",
    )
    allowed_origins: list[str] = Field(
        default_factory=list,
        max_length=50,
        description="Origins of web pages that may use the local API; none by default.",
    )

    push_interval_s: int = Field(
        30,
        ge=1,
        le=3600,
        description="Seconds between looks for unsent documents when nothing wakes the line.",
    )
    report_interval_s: int = Field(
        180, ge=5, le=3600, description="Seconds between reports to HQ when nothing changes."
    )
    wait_timeout_s: int = Field(
        55, ge=1, le=300, description="Seconds that one wait for news is held open at the centre."
    )
    push_batch_documents: int = Field(500, ge=1, le=1000, description="Most documents in one push.")

    retention_days: int = Field(
        35, ge=1, le=3650, description="Days that safe documents are kept on the station."
    )
    disk_alarm_percent: int = Field(85, ge=50, le=99, description="Alarm when the disk is fuller than this.")

    spool: bool = Field(
        True, description="Whether files dropped into data_dir/spool/in are taken as documents."
    )
    spool_dir: Path | None = Field(None, description="Another spool folder, such as one on a share.")
    spool_polling: bool = Field(
        False, description="Look at the spool by time instead of by events; needed on network shares."
    )
    spool_interval_s: int = Field(
        5, ge=1, le=3600, description="Seconds between looks at the spool that no event asked for."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severe level that is logged."
    )

    @property
    def spool_folder(self) -> Path:
        return self.spool_dir or self.data_dir / "spool"


def default_file() -> Path:
    """Where the settings file is looked for: the machine's folder if one lies there, else the user's."""
    machine = Path(platformdirs.site_config_dir("counterflow", appauthor=False)) / FILE_NAME
    return (
        machine
        if machine.exists()
        else Path(platformdirs.user_config_dir("counterflow", appauthor=False)) / FILE_NAME
    )


def default_data_dir(instance: str) -> Path:
    return Path(platformdirs.user_data_dir("counterflow-agent", appauthor=False)) / instance


def load(
    instance: str | None = None,
    file: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    **given: Any,
) -> AgentConfig:
    """The settings of an instance.

    Args:
        instance: which one; COUNTERFLOW_AGENT_INSTANCE, or "default", when None.
        file: the TOML file; COUNTERFLOW_AGENT_CONFIG, or the default place, when None.
        given: settings of the command line, above all others; None values are left out.
    Raises:
        ConfigError: a file that was named is missing, is no TOML, or a setting is unknown or out of bounds.
    """
    variables = {
        name.removeprefix(ENV_PREFIX).lower(): value
        for name, value in environment.items()
        if name.startswith(ENV_PREFIX)
    }
    named = variables.pop("config", "").strip()
    named_file = file or (Path(named) if named else None)
    instance = instance or variables.get("instance", "").strip() or DEFAULT_INSTANCE
    settings = (
        _from_file(named_file, instance)
        | _from_environment(variables)
        | {k: v for k, v in given.items() if v is not None}
    )
    settings["instance"] = instance
    settings.setdefault("data_dir", default_data_dir(instance))
    try:
        config = AgentConfig.model_validate(settings)
    except ValidationError as error:
        fault = from_validation(error, "settings")
        where = named_file or default_file()
        raise ConfigError(
            fault.what, hint=f"look at {where} and at the variables {ENV_PREFIX}*", **fault.extra
        ) from None
    return config.model_copy(update={"data_dir": config.data_dir.expanduser().absolute()})


def _from_file(named: Path | None, instance: str) -> dict[str, Any]:
    path = named or default_file()
    if named is None and not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"the settings file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"the settings file {path} is not valid TOML: {error}") from error
    instances = content.pop("instances", {})
    # One data folder for two instances would mix two stations: it is only taken from the instance's own table.
    if instance != DEFAULT_INSTANCE:
        for name in ("data_dir", "local_port"):
            content.pop(name, None)
    return {**content, **instances.get(instance, {})}


def _from_environment(variables: Mapping[str, str]) -> dict[str, Any]:
    """Texts as the fields' types; what does not fit stays text and is refused by the model with its name."""
    values: dict[str, Any] = {}
    for name, text in variables.items():
        field = AgentConfig.model_fields.get(name)
        if field is None:
            known = [ENV_PREFIX + field.upper() for field in (*AgentConfig.model_fields, "config")]
            raise unknown_variable(ENV_PREFIX + name.upper(), known, "counterflow-agent")
        if not text.strip():
            continue  # services and containers pass on what is not set as empty
        if field.annotation is bool and text.lower() in (*_TRUE, *_FALSE):
            values[name] = text.lower() in _TRUE
        elif field.annotation == list[str]:
            values[name] = [part.strip() for part in text.split(",") if part.strip()]
        else:
            values[name] = text
    return values
