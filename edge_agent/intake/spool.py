"""The spool folder: files that POS software drops become documents, each line once.

`in/` is where files are dropped, under a name ending in `.part` until they are complete. A file that has stopped
growing is claimed by renaming it into `taken/`, so nobody writes to what is being read; done, it goes to
`taken/DATE/`. Lines that cannot be taken go to `bad/` with a `.reason.txt` beside them, the others are accepted.
Invariant: a file leaves `taken/` only after all its good lines are durable, and a line is known by the SHA-256 of its
file and its number, so that a file met again after a crash doubles nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge_agent.intake import formats
from edge_agent.intake.accept import Intake
from edge_agent.intake.formats import Item
from edge_agent.keyfile import sync_folder, write_durably
from shared.canonical import canonical, parse
from shared.clock import Clock, rfc3339
from shared.codes import mask_card_numbers
from shared.documents.masking import masked, may_hold_card_number
from shared.errors import BadInput, CannotStore, Conflict, CounterflowError

log = logging.getLogger(__name__)

SETTLE_S = 1.0
"""A file is read when its size and time have not changed for so long."""
UNFINISHED = (".part", ".tmp", ".partial", ".filepart", ".crdownload")
GROUP_DOCUMENTS = 50
"""Lines handed in together: they share a commit."""
FILES_PER_STEP = 20


@dataclass(slots=True)
class Outcome:
    """What became of one file."""

    accepted: int = 0
    repeated: int = 0
    nameless_repeats: int = 0
    bad: list[tuple[Item, str]] = field(default_factory=list)


class Spool:
    """Looks at the folder whenever it is stepped; `watch` tells when that is worth while."""

    name = "spool"

    def __init__(self, folder: Path, intake: Intake, clock: Clock, *, interval_s: float) -> None:
        self._in, self._taken, self._bad = (folder / part for part in ("in", "taken", "bad"))
        self._intake = intake
        self._clock = clock
        self._interval_s = interval_s
        self._seen: dict[str, tuple[int, int, int]] = {}  # name -> size, time, tick of the first such look

    async def step(self) -> float:
        """Take what is complete; returns the seconds until the next look."""
        claimed, settling = await asyncio.to_thread(self._claim)
        for path, fresh in claimed:
            await self._take(path, fresh=fresh)
        if len(claimed) == FILES_PER_STEP:
            return 0.0
        return SETTLE_S if settling else self._interval_s

    # ---- claiming ----

    def _claim(self) -> tuple[list[tuple[Path, bool]], bool]:
        """Claimed files, oldest first, and whether others are still growing; True for one claimed just now."""
        try:
            for folder in (self._in, self._taken, self._bad):
                folder.mkdir(parents=True, exist_ok=True)
            claimed = [(path, False) for path in _files(self._taken)]
            waiting = _files(self._in)
        except OSError as error:
            raise CannotStore(
                f"the spool {self._in.parent} cannot be read: {error}", hint="is the share there?"
            ) from error
        self._seen = {path.name: self._seen[path.name] for path in waiting if path.name in self._seen}
        settling = False
        for path in waiting:
            if path.name.startswith(".") or path.suffix.lower() in UNFINISHED:
                continue
            if not self._settled(path):
                settling = True
            elif len(claimed) < FILES_PER_STEP and not (self._taken / path.name).exists():
                try:
                    os.replace(path, self._taken / path.name)
                except OSError:
                    settling = True  # on Windows: the writer still has it open
                else:
                    claimed.append((self._taken / path.name, True))
            else:
                settling = True
        return claimed, settling

    def _settled(self, path: Path) -> bool:
        try:
            stat = path.stat()
        except OSError:
            return False
        size, time_ns, since_ms = self._seen.get(path.name, (-1, -1, 0))
        if (size, time_ns) != (stat.st_size, stat.st_mtime_ns):
            self._seen[path.name] = (stat.st_size, stat.st_mtime_ns, self._clock.tick_ms())
            return False
        return self._clock.tick_ms() - since_ms >= SETTLE_S * 1000

    # ---- taking ----

    async def _take(self, path: Path, *, fresh: bool) -> None:
        content = await asyncio.to_thread(path.read_bytes)
        digest = hashlib.sha256(content).hexdigest()
        try:
            items = list(formats.items(path.name, content))
        except BadInput as error:
            await asyncio.to_thread(self._refuse_file, path, str(error), digest)
            return
        outcome = await self._hand_in(items, digest)
        log.info(
            "spool_file_taken",
            extra={
                "file": path.name,
                "accepted": outcome.accepted,
                "repeated": outcome.repeated,
                "bad": len(outcome.bad),
            },
        )
        if fresh and outcome.nameless_repeats:
            # The same bytes as a file that was taken before. With doc_ids that is surely a repetition; without them
            # these could be other sales that look alike, and only a person can tell.
            reason = (
                f"{outcome.nameless_repeats} of its lines have no doc_id and are the same, byte for byte, as in a "
                "file that was taken before; they were not taken again. If they are other sales, give each a doc_id "
                "and drop them again."
            )
            await asyncio.to_thread(self._refuse_file, path, reason, digest)
            return
        await asyncio.to_thread(self._finish, path, content, digest, outcome)

    async def _hand_in(self, items: Sequence[Item], digest: str) -> Outcome:
        outcome = Outcome()
        for first in range(0, len(items), GROUP_DOCUMENTS):
            group = items[first : first + GROUP_DOCUMENTS]
            results = await asyncio.gather(
                *(self._accept(item, f"{digest}:{item.line}") for item in group), return_exceptions=True
            )
            for item, result in zip(group, results, strict=True):
                match result:
                    case False:
                        outcome.accepted += 1
                    case True:
                        outcome.repeated += 1
                        outcome.nameless_repeats += b'"doc_id"' not in item.raw
                    case BadInput() | Conflict():
                        outcome.bad.append((item, str(result)))
                    case BaseException():
                        raise result  # the disk, not the line: the file stays claimed and is taken again
        return outcome

    async def _accept(self, item: Item, key: str) -> bool:
        if item.error is not None:
            raise item.error
        _, repeated = await self._intake.accept(item.raw, idempotency_key=key, source="spool")
        return repeated

    # ---- where files end ----

    def _finish(self, path: Path, content: bytes, digest: str, outcome: Outcome) -> None:
        if outcome.bad:
            self._keep_bad_lines(path.name, digest, outcome)
        day = self._taken / rfc3339(self._clock.now_ms())[:10]
        with _stated(path):
            day.mkdir(exist_ok=True)
            if may_hold_card_number(content):
                write_durably(
                    path,
                    mask_card_numbers(content.decode("utf-8", "surrogateescape")).encode(
                        "utf-8", "surrogateescape"
                    ),
                )
            os.replace(path, _free_name(day / path.name, digest))
            sync_folder(day)
            sync_folder(self._taken)

    def _keep_bad_lines(self, name: str, digest: str, outcome: Outcome) -> None:
        """Put the lines that were not taken into a file of their own, which can be corrected and dropped again."""
        content = b"\n".join(_without_cards(item.raw) for item, _ in outcome.bad) + b"\n"
        target = self._bad / f"{Path(name).stem}.ndjson"
        if target.exists() and target.read_bytes() != content:
            target = _free_name(target, digest)
        lines = len(outcome.bad) + outcome.accepted + outcome.repeated
        reasons = [
            f"{len(outcome.bad)} of {lines} lines of {name} were not taken and stand in {target.name}; the "
            "others were. Correct them there and move that file to in/.",
            *(f"line {item.line} of {name}: {reason}" for item, reason in outcome.bad),
        ]
        self._explain(target, "\n".join(reasons))
        write_durably(target, content)

    def _refuse_file(self, path: Path, reason: str, digest: str) -> None:
        target = self._bad / path.name
        if target.exists():
            target = _free_name(target, digest)
        self._explain(target, reason)
        with _stated(path):
            os.replace(path, target)
            sync_folder(self._bad)
        log.warning("spool_file_refused", extra={"file": path.name, "reason": mask_card_numbers(reason)})

    def _explain(self, target: Path, reason: str) -> None:
        text = mask_card_numbers(f"{rfc3339(self._clock.now_ms())} {reason}\n")
        write_durably(target.with_name(target.name + ".reason.txt"), text.encode())


async def watch(folder: Path, wake: asyncio.Event) -> None:
    """Set *wake* whenever something happens in the spool's `in/`. On network shares there are no events: poll there."""
    from watchfiles import awatch

    await asyncio.to_thread((folder / "in").mkdir, parents=True, exist_ok=True)
    async for _ in awatch(folder / "in", recursive=False, debounce=100, step=50):
        wake.set()


def _files(folder: Path) -> list[Path]:
    """Files directly in a folder, oldest first, so that what was sold first is journaled first."""
    with os.scandir(folder) as entries:
        found = [(entry.stat().st_mtime_ns, entry.name) for entry in entries if entry.is_file()]
    return [folder / name for _, name in sorted(found)]


def _free_name(path: Path, digest: str) -> Path:
    """*path*, or another name in that folder if something else lies there under it."""
    free, n = path, 0
    while free.exists():
        n += 1
        free = path.with_name(f"{path.stem}-{digest[:8]}{f'-{n}' if n > 1 else ''}{path.suffix}")
    return free


def _without_cards(raw: bytes) -> bytes:
    """A bad line as it is kept: it may hold a card number that nobody masked yet."""
    raw = raw.strip()
    if not may_hold_card_number(raw):
        return raw
    try:
        return canonical(masked(parse(raw)))
    except CounterflowError:
        return mask_card_numbers(raw.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


@contextlib.contextmanager
def _stated(path: Path) -> Iterator[None]:
    """Turn the system's errors into ours."""
    try:
        yield
    except OSError as error:
        raise CannotStore(f"spool file {path.name} cannot be moved: {error}") from error
