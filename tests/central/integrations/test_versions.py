"""Versions: stated, compared, switched with work under way, and taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from central.connectors.base import Finding
from central.db.database import Database
from central.integrations.definition import Definition, read_definition
from central.integrations.registry import Integrations
from central.integrations.versions import Versions
from shared.errors import BadInput, Conflict, NotFound
from tests.support.clock import ManualClock
from tests.support.outgoing import Document, add_documents, open_database
from tests.support.scripted_connector import SCRIPTED, SYSTEMS, System


class Owner:
    """Somebody who states definitions."""

    def __init__(self, database: Database, clock: ManualClock) -> None:
        self.database = database
        self.integrations = Integrations(database, clock, SCRIPTED)
        self.versions = Versions(database, self.integrations)

    async def put(self, definition: Definition, **how: Any) -> str:
        return (await self.versions.put(definition, by="anna", **how)).result


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Owner]:
    clock = ManualClock()
    SYSTEMS["erp"] = System()
    database = await open_database(database_url, clock)
    yield Owner(database, clock)
    await database.close()


def definition(*effects: str, **more: Any) -> Definition:
    deliver = [{"name": name, "kinds": ["sale"]} for name in effects]
    settings = {"account": "erp", "password": "s3cret"}
    return read_definition(
        {"name": "erp", "connector": "scripted", "settings": settings, "deliver": deliver, **more}
    )


async def test_the_same_words_are_no_version(owner: Owner):
    """A definition is stored when it differs; who stated it, and when, is kept."""
    assert await owner.put(definition("a")) == "created"
    assert await owner.put(definition("a")) == "unchanged"
    assert await owner.put(definition("a", "b"), note="returns too") == "changed"
    history = await owner.versions.history("erp")
    assert [(row["version"], row["by"], row["note"]) for row in history] == [
        (2, "anna", "returns too"),
        (1, "anna", ""),
    ]
    assert [effect for _, effect, _ in owner.integrations.targets("sale")] == ["a", "b"]


async def test_the_way_back_is_a_version_too(owner: Owner):
    """One step back holds what was said before; nothing is forgotten."""
    await owner.put(definition("a"))
    with pytest.raises(BadInput, match="no way back"):
        await owner.versions.back("erp", by="anna")
    await owner.put(definition("b"))
    outcome = await owner.versions.back("erp", by="anna")
    assert (outcome.integration.version, [*outcome.integration.effects()]) == (3, ["a"])
    with pytest.raises(NotFound, match="no version 9"):
        await owner.versions.back("erp", 9, by="anna")


async def test_a_difference_names_places_and_hides_secrets(owner: Owner):
    """Lists of named parts differ by name; a password that differs is told as one."""
    await owner.put(definition("a"))
    new = definition("z", "a").model_copy(update={"settings": {"account": "erp", "password": "other"}})
    found = {one.path: (one.before, one.after) for one in await owner.versions.difference("erp", None, new)}
    assert found["settings.password"] == ("***", "***")
    assert found["deliver[z].kinds"] == (None, ["sale"])
    assert not [path for path in found if path.startswith("deliver[a]")]


async def test_hidden_secrets_stay_as_they_were(owner: Owner):
    """`***` keeps what was said before; where nothing was, it is refused."""
    hidden = definition("a", settings={"account": "erp", "password": "***"})
    with pytest.raises(BadInput, match="no earlier version"):
        await owner.put(hidden)
    await owner.put(definition("a"))
    assert await owner.put(hidden) == "unchanged"


async def test_an_effect_does_not_leave_its_deliveries_behind(owner: Owner):
    """Deliveries that are not done keep their effect, unless they are abandoned expressly."""
    await owner.put(definition("document"))
    one = await owner.integrations.get("erp")
    await add_documents(owner.database, [Document(1)], integrations=[one.integration_no])
    with pytest.raises(Conflict, match=r"document \(1\)"):
        await owner.put(definition("other"))
    assert (await owner.integrations.get("erp")).version == 1
    assert await owner.put(definition("other"), abandon=True) == "changed"


async def test_what_is_stated_and_not_started_waits_for_nobody(owner: Owner):
    """The other system may be away until it is enabled; then it has to be well."""
    away = Finding("reached", ok=False, detail="it is away")
    SYSTEMS["erp"].findings.append(away)
    with pytest.raises(BadInput, match="it is away"):
        await owner.put(definition("a"))
    assert await owner.put(definition("a"), enabled=False) == "created"
    with pytest.raises(BadInput, match="it is away"):
        await owner.integrations.enable("erp")
    SYSTEMS["erp"].findings.clear()
    assert (await owner.integrations.enable("erp")).enabled


async def test_a_mapping_is_mended_while_the_other_system_is_away(owner: Owner):
    """Only settings that are others than before are tried."""
    await owner.put(definition("a"))
    SYSTEMS["erp"].findings.append(Finding("reached", ok=False, detail="it is away"))
    assert await owner.put(definition("a", "b")) == "changed"
    with pytest.raises(BadInput, match="it is away"):
        await owner.put(definition("a", "b", settings={"account": "erp", "password": "another"}))


async def test_what_cannot_work_leaves_the_version_that_holds(owner: Owner):
    """A source that the connector lacks is refused with the nearest known ones."""
    await owner.put(definition("a"))
    pull = {"name": "goods", "source": "goods", "entity": "product", "fields": {"code": "{{ code }}"}}
    with pytest.raises(BadInput, match='no source "goods"'):
        await owner.put(definition("a", pull=[pull]))
    with pytest.raises(BadInput, match='no effect "nobody"'):
        await owner.put(definition("a", deliver=[{"name": "a", "kinds": ["sale"], "needs": ["nobody"]}]))
    assert (await owner.integrations.get("erp")).version == 1
