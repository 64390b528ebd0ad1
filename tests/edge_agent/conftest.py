"""A station without a network, for every test of this folder."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.till import Till, open_till


@pytest.fixture
async def till(tmp_path: Path) -> AsyncIterator[Till]:
    till = await open_till(tmp_path)
    yield till
    await till.journal.close()
