"""A real process that delivers, killed with SIGKILL again and again: each document is in the files once."""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest

from central.db.database import Database
from central.integrations.registry import Integrations
from shared.clock import SystemClock
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, delivery_states, open_database
from tests.support.processes import Process, python
from tests.support.template import Template

DOCUMENTS = 200
BATCH = 10
KILLS = 4
KILLED = -9


def read(folder: Path) -> list[str]:
    """The delivery keys of all files that a reader ever saw."""
    return [
        orjson.loads(line)["delivery_key"]
        for path in folder.rglob("*.ndjson")
        for line in path.read_bytes().splitlines()
    ]


@pytest.fixture(scope="module")
def program() -> Iterator[Template | None]:
    """What delivers, loaded once for all its lives."""
    if sys.platform != "linux":
        yield None
        return
    with Template("tests.support.delivering_process") as template:
        yield template


@pytest.mark.faults
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("where", ["delivery.before_rename", "delivery.after_rename", "any time"])
async def test_killed_deliveries_arrive_once(
    where: str, tmp_path: Path, processes: Callable[..., Process], program: Template | None
):
    """Life after life ends at the named place, or as soon as a file more is seen, while a reader takes files."""
    folder = tmp_path / "drop"
    url = f"sqlite+aiosqlite:///{tmp_path / 'central.db'}"
    database: Database = await open_database(url, ManualClock(SystemClock().now_ms()))
    integrations = Integrations(database, SystemClock())
    settings = {"folder": str(folder), "batch_documents": BATCH}
    one = await integrations.create("erp", "drop_folder", settings, ["sale"], from_ms=0)
    sold = [Document(number) for number in range(1, DOCUMENTS + 1)]
    await add_documents(database, sold, integrations=[one.integration_no])
    await database.close()

    rng = random.Random(5)
    kills = lives = 0
    code = KILLED
    while code != 0:
        lives += 1
        die = kills < KILLS
        env = (
            {"COUNTERFLOW_FAULTPOINT": f"{where}:{rng.randint(1, 3)}"} if die and where != "any time" else {}
        )
        argv = python("-m", "tests.support.delivering_process", url)
        process = processes(f"life-{lives}", argv, env=env, template=program)
        before = len(list(folder.rglob("*.ndjson")))
        while die and where == "any time" and process.is_running():
            if len(list(folder.rglob("*.ndjson"))) > before:
                process.kill()
        code = await process.wait(deadline_s=60)
        assert code in (0, KILLED), process.log_tail()
        kills += code == KILLED
        for path in sorted(folder.glob("out/*.ndjson")):
            if rng.random() < 0.5:
                path.rename(folder / "taken" / path.name)
    assert kills == KILLS
    assert Counter(read(folder)) == Counter(f"erp:{one.doc_id}:document" for one in sold)
    database = Database(url)
    assert await delivery_states(database) == {"done": DOCUMENTS}
    await database.close()
