"""One running Tryton for the tests of a file, each with goods of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from central.connectors.tryton.connector import TrytonConnector, TrytonSettings
from tests.support.clock import ManualClock
from tests.support.tryton import TrytonServer
from tests.support.tryton_process import DATABASE, PASSWORD

Connect = Callable[..., TrytonConnector]


@pytest.fixture(scope="module")
def server(tryton_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrytonServer]:
    server = TrytonServer(tmp_path_factory.mktemp("server"), tryton_template)
    server.start()
    try:
        asyncio.run(server.wait_until_ready())
        yield server
    finally:
        server.kill()


@pytest.fixture
def connect(server: TrytonServer) -> Connect:
    """A connector as a process has it after its start; by the user of the exchange unless told otherwise."""

    def connect(**settings: Any) -> TrytonConnector:
        known = {"url": server.url, "database": DATABASE, "user": "exchange", "password": PASSWORD}
        return TrytonConnector("erp", TrytonSettings.model_validate(known | settings), ManualClock())

    return connect
