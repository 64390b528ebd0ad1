"""Settings looked at again (S9): drift is told before data fails."""

from __future__ import annotations

import pytest

from central.connectors.base import Finding
from central.integrations.checks import Checks
from central.monitoring.collect import attention, collect
from tests.central.integrations.conftest import Centre
from tests.support.source_connector import PRODUCT


def checks(centre: Centre, node: str = "a") -> Checks:
    return Checks(centre.database, centre.integrations, centre.clock, node=node)


async def test_settings_are_checked_when_they_are_due(any_centre: Centre, caplog: pytest.LogCaptureFixture):
    """At once, and again after `check_every`; what was found stays with the integration."""
    centre = any_centre
    await centre.connect({}, check_every="1h")
    assert await checks(centre).step(await centre.integrations.get("erp"))
    assert not await checks(centre).step(await centre.integrations.get("erp"))
    centre.shop.findings = [Finding("rights", ok=False, detail="may not read prices", hint="ask for it")]
    centre.clock.move(3_600)
    assert await checks(centre).step(await centre.integrations.get("erp"))
    assert (await centre.integrations.get("erp")).findings == tuple(centre.shop.findings)
    assert "integration_drifts" in caplog.text
    (told,) = attention(await collect(centre.database))[:1]
    assert told == "integration erp: rights: may not read prices; `integrations check erp`"


async def test_a_pull_that_does_not_get_through_is_told(any_centre: Centre):
    """On the glance, with its reason and the command that shows more."""
    any_centre.shop.script.extend(["denied", "denied"])
    await any_centre.connect({})
    await any_centre.until_idle()
    await any_centre.later(16)
    told = attention(await collect(any_centre.database))
    assert told[0] == (
        "integration erp: pull goods failed 2 times: the password has changed; `integrations runs erp`"
    )


async def test_a_field_that_is_gone_is_drift(centre: Centre, monkeypatch: pytest.MonkeyPatch):
    """The definition is compared with what the connector declares now."""
    one = await centre.connect({})
    monkeypatch.delitem(PRODUCT, "name")
    (finding,) = await checks(centre).check(one)
    assert (finding.what, finding.ok) == ("definition", False)
    assert 'pull "goods"' in finding.detail


async def test_a_check_tells_what_a_secret_lacks(centre: Centre, monkeypatch: pytest.MonkeyPatch):
    """A variable that is no longer set is named."""
    monkeypatch.setenv("ERP_PASSWORD", "x")
    one = await centre.connect({}, settings={"account": "erp", "password": {"env": "ERP_PASSWORD"}})
    monkeypatch.delenv("ERP_PASSWORD")
    centre.integrations._connectors.clear()
    (finding,) = await checks(centre).check(one)
    assert "ERP_PASSWORD is not set" in finding.detail
