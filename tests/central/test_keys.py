"""API keys and the audit trail."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.audit import masked
from central.db import admin as rows
from central.keys import Binding
from shared.errors import BadInput, Conflict, NotAuthenticated, NotFound
from tests.support.centre import open_centre


async def test_a_key_opens_the_door_until_it_is_revoked(database_url: str, tmp_path: Path) -> None:
    """It is shown once, stored as a hash, and of no use from the moment it is revoked."""
    async with open_centre(database_url, tmp_path) as centre:
        await centre.keys.create("first", "admin", who="test")
        key = await centre.keys.create("second", "read", who="test")
        identity = await centre.keys.authenticate(key)
        assert (identity.who, identity.role) == ("second", "read")
        await centre.keys.revoke("second", who="test")
        with pytest.raises(NotAuthenticated, match="revoked"):
            await centre.keys.authenticate(key)
        for wrong in ("", "cf_admin_", key + "x", "\ud800"):
            with pytest.raises(NotAuthenticated):
                await centre.keys.authenticate(wrong)


async def test_the_last_admin_key_stays(database_url: str, tmp_path: Path) -> None:
    """Or nobody could ever make another one."""
    async with open_centre(database_url, tmp_path) as centre:
        await centre.keys.create("only", "admin", who="test")
        with pytest.raises(Conflict, match="last admin key"):
            await centre.keys.revoke("only", who="test")
        await centre.keys.create("other", "admin", who="test")
        await centre.keys.revoke("only", who="test")


async def test_a_name_is_used_once(database_url: str, tmp_path: Path) -> None:
    """Also a revoked key's: the trail must say who it was."""
    async with open_centre(database_url, tmp_path) as centre:
        await centre.keys.create("boss", "admin", who="test")
        await centre.keys.create("reader", "read", who="test")
        await centre.keys.revoke("reader", who="test")
        with pytest.raises(Conflict):
            await centre.keys.create("reader", "read", who="test")
        with pytest.raises(BadInput, match="role"):
            await centre.keys.create("x", "root", who="test")
        with pytest.raises(BadInput, match="consumer"):
            await centre.keys.create("x", "feed", who="test")
        with pytest.raises(NotFound):
            await centre.keys.create("x", "feed", Binding("nobody"), who="test")
        with pytest.raises(NotFound):
            await centre.keys.revoke("nobody", who="test")


async def test_acts_stand_in_the_trail_without_their_secrets(database_url: str, tmp_path: Path) -> None:
    """Who, what and on what; newest first."""
    async with open_centre(database_url, tmp_path) as centre:
        await centre.keys.create("boss", "admin", who="init")
        await centre.registry.add_store(
            "S1", name="", zone="UTC", currency="EUR", price_list=None, who="boss"
        )
        async with centre.database.read() as connection:
            found = await rows.list_audit(connection, before=None, who=None, what=None, limit=10)
        assert [(row.who, row.what) for row in found] == [("boss", "store.create"), ("init", "key.create")]
        assert all("cf_admin" not in row.detail for row in found)


def test_secret_values_are_masked_at_any_depth() -> None:
    """A trail may be shown to anybody who may read."""
    settings = {"url": "x", "password": "p", "nested": [{"api_key": "k", "Token": ["t"]}], "secret": ""}
    assert masked(settings) == {
        "url": "x",
        "password": "***",
        "nested": [{"api_key": "***", "Token": ["***"]}],
        "secret": "",
    }
