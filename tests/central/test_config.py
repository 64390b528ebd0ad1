"""Settings: environment over file over defaults, every mistake named."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.config import Config, load
from shared.errors import ConfigError


def test_environment_wins_over_the_file(tmp_path: Path) -> None:
    """What the environment says counts, then the file, then the default."""
    file = tmp_path / "central.toml"
    file.write_text('host = "0.0.0.0"\nport = 9000\n')
    config = load(file, {"COUNTERFLOW_CENTRAL_PORT": "9001"})
    assert (config.host, config.port, config.safe_after_days) == ("0.0.0.0", 9001, 35)


def test_file_is_named_by_the_environment(tmp_path: Path) -> None:
    """Without a path, COUNTERFLOW_CENTRAL_CONFIG says where the file lies."""
    file = tmp_path / "central.toml"
    file.write_text("port = 9000\n")
    assert load(None, {"COUNTERFLOW_CENTRAL_CONFIG": str(file)}).port == 9000


def test_empty_variable_is_no_setting(tmp_path: Path) -> None:
    """A line `COUNTERFLOW_CENTRAL_PORT=` of a unit file says nothing: the file counts, or the default."""
    file = tmp_path / "central.toml"
    file.write_text("port = 9000\n")
    empty = {"COUNTERFLOW_CENTRAL_PORT": "", "COUNTERFLOW_CENTRAL_TLS_CERT": ""}
    config = load(file, empty)
    assert (config.port, config.tls_cert) == (9000, None)


def test_default_database_lies_in_the_data_folder(tmp_path: Path) -> None:
    """Without a database URL the centre uses SQLite beside its other files."""
    assert Config(data_dir=tmp_path).url == f"sqlite+aiosqlite:///{tmp_path / 'central.db'}"


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"COUNTERFLOW_CENTRAL_PORT": "many"}, "port"),
        ({"COUNTERFLOW_CENTRAL_PORT": "70000"}, "port"),
        ({"COUNTERFLOW_CENTRAL_TLS_CERT": "/tmp/cert.pem"}, "tls_cert and tls_key belong together"),
        ({"COUNTERFLOW_CENTRAL_LOG_FORMAT": "xml"}, "log_format"),
        ({"COUNTERFLOW_CENTRAL_MINIMUM_AGENT": "new"}, "minimum_agent"),
    ],
)
def test_wrong_setting_is_named(environ: dict[str, str], told: str) -> None:
    """A setting that is of no use stops the start and says which it is."""
    with pytest.raises(ConfigError, match=told):
        load(None, environ)


def test_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    """A misspelt name is not passed over."""
    file = tmp_path / "central.toml"
    file.write_text("prot = 9000\n")
    with pytest.raises(ConfigError, match="prot"):
        load(file, {})


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("COUNTERFLOW_CENTRAL_DATABSE_URL", "did you mean COUNTERFLOW_CENTRAL_DATABASE_URL?"),
        ("COUNTERFLOW_CENTRAL_CONFG", "did you mean COUNTERFLOW_CENTRAL_CONFIG?"),
    ],
)
def test_misspelt_variable_stops_the_start_and_the_nearest_name_is_told(variable: str, hint: str) -> None:
    """The centre would run on its default, such as SQLite beside the PostgreSQL that was meant."""
    with pytest.raises(ConfigError, match=variable) as caught:
        load(None, {variable: ""})
    assert hint in caught.value.hint
    assert load(None, {"COUNTERFLOW_URL": "http://hq"}) == load(None, {})


@pytest.mark.parametrize("content", [b"port = = 1", b"\xff\xfe"])
def test_file_that_is_not_toml_is_told(tmp_path: Path, content: bytes) -> None:
    """A broken file is told with its path."""
    file = tmp_path / "central.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=r"central\.toml is not TOML"):
        load(file, {})


def test_file_that_is_absent_is_told(tmp_path: Path) -> None:
    """A file that was asked for must be there."""
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "absent.toml", {})
