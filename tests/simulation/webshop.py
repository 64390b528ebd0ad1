"""A foreign system that posts its documents: one after the other, each again until it is answered.

It hands in what it said before once more, now and then with another content; the policy for that is the seed's. After
the centre was restored from a backup it hands in everything again, in the same order and under the same keys. What
each request must come to it reckons for itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.simulation.world import Call, Host, Sleep, Violation, Work, World

if TYPE_CHECKING:
    from tests.simulation.centre import Centre

POLICIES = ("error", "update", "skip", "off")
DESK = 900
"""The station that the centre seals its documents as."""


@dataclass(frozen=True, slots=True)
class Post:
    """A request, and what it must come to."""

    key: str
    source_id: int
    content: int
    outcome: str
    restores: int = 0
    """How often the centre was restored when it was sent: no connection outlives that."""


class Webshop(Host):
    """The foreign system; its own database is never lost."""

    def __init__(self, world: World, centre: Centre) -> None:
        super().__init__(world, "webshop")
        self.centre = centre
        self.policy = POLICIES[world.seed % len(POLICIES)]
        self.posts: list[Post] = []
        self.contents: dict[int, int] = {}  # of the newest document of each of its ids
        self.doc_ids: dict[str, str] = {}  # by key, as it was told
        self.answered = 0
        self.restores = 0

    def start(self) -> None:
        self.world.spawn(self, self.work())

    def work(self) -> Work:
        while True:
            yield Sleep(self.world.rng.randint(1_500, 4_000))
            if self.restores != self.centre.restores:
                self.restores, self.answered = self.centre.restores, 0
            if self.answered == len(self.posts) and not self.world.quiet:
                self.posts.append(self.next_post())
            while self.answered < len(self.posts) and self.restores == self.centre.restores:
                post = self.posts[self.answered]
                body = (post.key, post.source_id, post.content, self.policy, self.restores)
                answer = yield Call("foreign", body)
                if answer is not None and self.restores == self.centre.restores:
                    self.believe(post, *answer)
                    self.answered += 1

    def next_post(self) -> Post:
        rng, key = self.world.rng, f"key-{len(self.posts)}"
        source_id = rng.randint(0, len(self.contents))
        old = self.contents.get(source_id)
        content = 0 if old is None else old + rng.randint(0, 1)
        if old is None or self.policy == "off":
            outcome = "accepted"
        elif self.policy == "update":
            outcome = "unchanged" if content == old else "updated"
        else:
            outcome = {"error": "refused", "skip": "skipped"}[self.policy]
        if outcome in ("accepted", "updated"):
            self.contents[source_id] = content
        return Post(key, source_id, content, outcome)

    def believe(self, post: Post, outcome: str, doc_id: str) -> None:
        """An answer; the same request never has another one."""
        if outcome != post.outcome:
            raise Violation(
                f"{post.key} must be {post.outcome} ({self.policy}), and the centre says {outcome}"
            )
        if self.doc_ids.setdefault(post.key, doc_id) != doc_id:
            raise Violation(f"{post.key} was {self.doc_ids[post.key]}, and is {doc_id} now")

    def is_done(self) -> bool:
        return self.answered == len(self.posts) and self.restores == self.centre.restores

    def made(self) -> set[str]:
        """The documents that the centre must have of it, and no others."""
        return {
            self.doc_ids[post.key]
            for post in self.posts
            if post.outcome in ("accepted", "updated") and post.key in self.doc_ids
        }
