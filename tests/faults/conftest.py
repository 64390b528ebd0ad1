"""A chain of real processes for each test of the folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.chain import Chain


@pytest.fixture
async def chain(tmp_path: Path) -> AsyncIterator[Chain]:
    """One centre on SQLite, one station."""
    async with Chain(tmp_path, stations=1) as chain:
        yield chain
