"""The watched folder: a file is an integration; a bad one is told with line and reason, and the old version stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from central.integrations.watch import AGAIN_S, WatchedFolder
from shared.errors import Conflict
from tests.central.integrations.conftest import Centre

FILE = """name = "erp"
connector = "shop"
[settings]
account = "erp"
[[pull]]
name = "goods"
source = "products"
entity = "product"
[pull.fields]
code = "{{ code }}"
name = "{{ name }}"
"""


class Folder:
    """A folder that a process watches."""

    def __init__(self, centre: Centre, path: Path) -> None:
        self.centre = centre
        self.path = path
        self.restart()

    def restart(self) -> None:
        self.watch = WatchedFolder(self.path, self.centre.versions, self.centre.clock)

    async def put(self, text: str, name: str = "erp.toml") -> str:
        """Write a file, let it be seen twice, and return what was written beside it."""
        (self.path / name).write_text(text)
        await self.look()
        beside = self.path / f"{name}.refused.txt"
        return beside.read_text() if beside.exists() else ""

    async def look(self) -> None:
        await self.watch.step()
        await self.watch.step()

    async def version(self) -> int:
        return (await self.centre.integrations.get("erp")).version


@pytest.fixture
def folder(centre: Centre, tmp_path: Path) -> Folder:
    path = tmp_path / "definitions"
    path.mkdir()
    return Folder(centre, path)


async def test_a_file_is_an_integration(folder: Folder):
    """A new one is made and on, a changed one is a version, an unchanged one nothing."""
    assert await folder.put(FILE) == ""
    assert await folder.version() == 1
    await folder.put(FILE.replace('name = "goods"', 'name = "wares"'))
    assert await folder.version() == 2
    await folder.look()
    folder.restart()
    await folder.look()
    assert await folder.version() == 2
    assert (await folder.centre.versions.history("erp"))[0]["by"] == "file erp.toml"


async def test_a_file_that_is_still_written_is_left_alone(folder: Folder):
    """It is read once it looks the same twice."""
    (folder.path / "erp.toml").write_text(FILE[:40])
    await folder.watch.step()
    assert await folder.put(FILE) == ""
    assert await folder.version() == 1


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ('account = "erp"', "account = erp", "erp.toml, line 4: "),
        ('entity = "product"', 'entity = "product"\nevery = "soon"', "line 9: pull.every: "),
        ('source = "products"', 'source = "product"', 'did you mean "products"?'),
        ("{{ name }}", "{{ nmae }}", 'pull "goods": '),
    ],
)
async def test_a_bad_file_is_refused_and_the_old_version_stays(
    folder: Folder, before: str, after: str, told: str
):
    """Line and reason stand beside the file until it is right."""
    await folder.put(FILE)
    assert told in await folder.put(FILE.replace(before, after))
    assert await folder.version() == 1
    assert await folder.put(FILE + "# better\n") == ""


async def test_what_was_changed_elsewhere_holds_until_the_file_changes(folder: Folder):
    """No restart takes a way back away; words that say the same are no version."""
    await folder.put(FILE)
    await folder.put(FILE.replace("goods", "wares"))
    await folder.put(FILE.replace("goods", "wares") + "# a comment\n")
    await folder.centre.versions.back("erp", by="anna")
    folder.restart()
    await folder.look()
    assert (await folder.centre.integrations.get("erp")).definition.pull[0].name == "goods"
    await folder.put(FILE.replace("goods", "things"))
    assert (await folder.centre.integrations.get("erp")).definition.pull[0].name == "things"


async def test_one_integration_has_one_file(folder: Folder):
    """A second file of the same name is refused while the first one is there."""
    await folder.put(FILE)
    assert "stands in erp.toml already" in await folder.put(FILE, "other.toml")


async def test_what_may_pass_is_tried_again(folder: Folder, monkeypatch: pytest.MonkeyPatch):
    """Somebody else was faster, or the other system away: the file is stated a minute later."""
    put = folder.centre.versions.put

    async def busy(*_args: object, **_kwargs: object) -> None:
        raise Conflict("somebody else was faster")

    monkeypatch.setattr(folder.centre.versions, "put", busy)
    assert "faster" in await folder.put(FILE)
    monkeypatch.setattr(folder.centre.versions, "put", put)
    await folder.look()
    assert await folder.centre.integrations.list() == []
    folder.centre.clock.move(AGAIN_S)
    await folder.look()
    assert await folder.version() == 1
