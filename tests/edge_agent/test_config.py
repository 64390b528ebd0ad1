"""Settings: environment over file over defaults, one instance's own table, and no misspelling unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from edge_agent import config
from shared.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_environment_is_above_the_file_and_the_command_line_above_both(tmp_path: Path) -> None:
    """Three places name the port; the nearest to the person wins."""
    file = write(tmp_path, "local_port = 1001\npush_interval_s = 9\nwait_timeout_s = 7\n")
    variables = {"COUNTERFLOW_AGENT_LOCAL_PORT": "1002", "COUNTERFLOW_AGENT_PUSH_INTERVAL_S": "8"}
    loaded = config.load(None, file, variables, local_port=1003)
    assert (loaded.local_port, loaded.push_interval_s, loaded.wait_timeout_s) == (1003, 8, 7)


def test_an_instance_has_its_own_folder_and_port(tmp_path: Path) -> None:
    """A second station on the PC never falls back to the first one's data folder or port."""
    file = write(
        tmp_path,
        f'server_url = "http://hq"\ndata_dir = "{tmp_path}/one"\nlocal_port = 9001\n'
        f"[instances.two]\nlocal_port = 9002\n",
    )
    one, two = config.load(None, file, {}), config.load("two", file, {})
    assert (one.data_dir, one.local_port) == (tmp_path / "one", 9001)
    assert two.data_dir == config.default_data_dir("two")
    assert (two.local_port, two.server_url) == (9002, "http://hq")


def test_unknown_settings_are_errors(tmp_path: Path) -> None:
    """A misspelt setting is told with its name, wherever it stands."""
    with pytest.raises(ConfigError, match="push_intervall_s"):
        config.load(None, write(tmp_path, "push_intervall_s = 1\n"), {})
    with pytest.raises(ConfigError, match="COUNTERFLOW_AGENT_PROXI") as caught:
        config.load(None, None, {"COUNTERFLOW_AGENT_PROXI": "x"})
    assert "did you mean COUNTERFLOW_AGENT_PROXY?" in caught.value.hint


def test_an_empty_variable_counts_as_unset(tmp_path: Path) -> None:
    """Services and containers pass on what is not set as empty; a misspelt name is told all the same."""
    file = write(tmp_path, 'local_port = 1001\nproxy = "http://proxy:3128"\n')
    names = (
        "CA_FILE",
        "PROXY",
        "LOCAL_PORT",
        "SPOOL",
        "SPOOL_DIR",
        "DATA_DIR",
        "INSTANCE",
        "ALLOWED_ORIGINS",
        "LOG_LEVEL",
    )
    empty = {f"COUNTERFLOW_AGENT_{name}": " " if name == "SPOOL_DIR" else "" for name in names}
    assert config.load(None, file, empty) == config.load(None, file, {})
    assert config.load(None, None, {"COUNTERFLOW_AGENT_CONFIG": ""}) == config.load(None, None, {})
    with pytest.raises(ConfigError, match="COUNTERFLOW_AGENT_PROXI"):
        config.load(None, None, {"COUNTERFLOW_AGENT_PROXI": ""})


def test_values_out_of_bounds_are_told_with_their_field(tmp_path: Path) -> None:
    """The message names the field and the bound."""
    with pytest.raises(ConfigError, match="push_interval_s"):
        config.load(None, write(tmp_path, "push_interval_s = 0\n"), {})


def test_missing_and_broken_files_are_told(tmp_path: Path) -> None:
    """A file that was named must be there and be TOML."""
    with pytest.raises(ConfigError, match="cannot be read"):
        config.load(None, tmp_path / "none.toml", {})
    with pytest.raises(ConfigError, match="not valid TOML"):
        config.load(None, write(tmp_path, "a = ["), {})


def test_lists_and_switches_come_from_the_environment() -> None:
    """Switches and lists are written as people write them."""
    variables = {
        "COUNTERFLOW_AGENT_SPOOL": "off",
        "COUNTERFLOW_AGENT_ALLOWED_ORIGINS": "http://a, http://b",
        "COUNTERFLOW_AGENT_INSTANCE": "kiosk",
    }
    loaded = config.load(None, None, variables)
    assert (loaded.spool, loaded.allowed_origins, loaded.instance) == (
        False,
        ["http://a", "http://b"],
        "kiosk",
    )


def test_every_setting_has_a_description() -> None:
    """Help and reference are made from these lines."""
    assert all(field.description for name, field in config.AgentConfig.model_fields.items())
