"""What our Markdown files say that can be checked: headings, links, commands, places in the code.

Pure but for reading the files. Fenced blocks are told apart from text, so that an example is no link and a sentence
no command.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
PROGRAMS = ("counterflow-central", "counterflow-agent")

_FENCE = re.compile(r"^\s*(?P<mark>`{3,}|~{3,})(?P<language>.*)$")
_LINK = re.compile(r"\[[^\]]*\]\((?P<target>[^)\s]+)\)")
_CODE = re.compile(r"`(?P<text>[^`]+)`")
_PLACE = re.compile(r"`(?P<path>[\w./-]+\.py):(?P<name>[A-Za-z_][\w.]*)`")
_FILE = re.compile(r"`(?P<path>[\w.-]+(?:/[\w.-]+)+\.(?:py|sql|json|toml|md))`")
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file; `fence` numbers the fenced block that it stands in, 0 for text."""

    file: Path
    number: int
    text: str
    fence: int

    @property
    def where(self) -> str:
        return f"{self.file.relative_to(ROOT).as_posix()}, line {self.number}"


def lines(file: Path) -> Iterator[Line]:
    """The lines of a file without the fences themselves."""
    fence, blocks, closing = 0, 0, ""
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        mark = _FENCE.match(text)
        if not fence and mark:
            blocks += 1
            fence, closing = blocks, mark["mark"]
        elif fence and text.strip() == closing:
            fence = 0
        else:
            yield Line(file, number, text, fence)


def headings(file: Path) -> list[str]:
    """The texts of all headings, without their marks."""
    return [
        line.text.lstrip("#").strip()
        for line in lines(file)
        if not line.fence and re.match(r"#{1,6} ", line.text)
    ]


def anchor(heading: str) -> str:
    """The anchor that a heading gets."""
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.replace(" ", "-")


def links(file: Path) -> Iterator[tuple[Line, str]]:
    """Every target of a link."""
    for line in lines(file):
        if not line.fence:
            for found in _LINK.finditer(_CODE.sub("", line.text)):
                yield line, found["target"]


def commands(file: Path) -> Iterator[tuple[Line, list[str]]]:
    """Every command of ours, split into words: in fenced blocks, and in text as a piece of code."""
    for line in lines(file):
        if line.fence:
            text = line.text.strip().removeprefix("$ ")
            words = _words(text)
            if words and words[0] in PROGRAMS:
                yield line, words
        else:
            for code in _CODE.finditer(line.text):
                words = _words(code["text"])
                if words and words[0] in PROGRAMS and len(words) > 1:
                    yield line, words


def run_lines(file: Path) -> Iterator[list[str]]:
    """What follows `python3 run.py` wherever it stands as code."""
    for line in lines(file):
        codes = [line.text] if line.fence else [found["text"] for found in _CODE.finditer(line.text)]
        for words in map(_words, codes):
            if words[:2] == ["python3", "run.py"]:
                yield words[2:]


def _words(text: str) -> list[str]:
    try:
        words = shlex.split(text, comments=True)
    except ValueError:
        return []
    while words and _ASSIGNMENT.fullmatch(words[0]):
        del words[0]
    for stop in ("|", "<", ">", "&&", "||", "&"):
        if stop in words:
            words = words[: words.index(stop)]
    return words


def places(file: Path) -> Iterator[tuple[Line, str, str]]:
    """Every `path.py:name` of the text."""
    for line in lines(file):
        for found in _PLACE.finditer(line.text):
            yield line, found["path"], found["name"]


def files_named(file: Path) -> Iterator[tuple[Line, str]]:
    """Every `folder/file` of the text."""
    for line in lines(file):
        for found in _FILE.finditer(line.text):
            yield line, found["path"]


def section(file: Path, heading: str) -> list[list[str]]:
    """The fenced blocks under a heading, each as its lines."""
    blocks: dict[int, list[str]] = {}
    inside = False
    for line in lines(file):
        if not line.fence and re.match(r"#{1,6} ", line.text):
            inside = line.text.lstrip("#").strip() == heading
        elif inside and line.fence:
            blocks.setdefault(line.fence, []).append(line.text)
    return list(blocks.values())
