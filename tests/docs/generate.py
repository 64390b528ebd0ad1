"""Write docs/reference anew: `python -m tests.docs.generate`. A test compares it with what is committed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.docs import commands_pages, http_pages, models_pages, problems_page, settings_pages

REFERENCE = Path(__file__).resolve().parents[2] / "docs" / "reference"
NOTE = "<!-- Written by `python -m tests.docs.generate` from the code; change the code, then run it. -->\n"
PAGES: dict[str, Callable[[], str]] = {
    "commands-central.md": commands_pages.central,
    "commands-agent.md": commands_pages.agent,
    "settings-centre.md": settings_pages.centre_settings,
    "settings-agent.md": settings_pages.agent_settings,
    "settings-connectors.md": settings_pages.connector_settings,
    "http-centre.md": http_pages.centre,
    "http-agent.md": http_pages.agent,
    "documents.md": models_pages.documents,
    "catalog.md": models_pages.catalog,
    "errors.md": problems_page.page,
}


def contents() -> dict[str, str]:
    """Every page by its file name, the list of pages among them."""
    pages = {name: f"{NOTE}\n{make().rstrip()}\n" for name, make in PAGES.items()}
    titles = [(name, text.split("\n# ", 1)[1].split("\n", 1)[0]) for name, text in pages.items()]
    index = [
        "# Reference",
        "",
        "Written from the code:",
        "",
        *(f"- [{title}]({name})" for name, title in titles),
    ]
    return {"README.md": f"{NOTE}\n" + "\n".join(index) + "\n", **pages}


def main() -> None:
    REFERENCE.mkdir(exist_ok=True)
    for name, text in contents().items():
        (REFERENCE / name).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
