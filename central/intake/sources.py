"""Sources of documents, as HQ keeps them: who may hand in documents, and what a duplicate is for each kind (S3)."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncConnection

from central import audit
from central.db import foreign as rows
from central.db.database import Database
from central.intake.duplicates import Policy, policies_of, text_of
from shared.documents import KINDS
from shared.errors import BadInput, Conflict, NotFound
from shared.ids import check_code


class Sources:
    """Make a source, and say what is done with its duplicates."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, source: str, *, who: str) -> None:
        """Make a source; its keys are drawn with it as their binding."""
        check_code(source, "source")

        async def work(connection: AsyncConnection) -> None:
            if await rows.policies(connection, source) is not None:
                raise Conflict(f'there is a source "{source}" already', hint="choose another name")
            now_ms = await self._database.now_ms(connection)
            await rows.add_source(connection, source, now_ms)
            await audit.record(connection, now_ms, who, "source.create", {"source": source})

        await self._database.run(work)

    async def set_policy(self, source: str, kind: str, policy: Policy, *, who: str) -> dict[str, Policy]:
        """What is done with duplicates of a kind, from the next document on; returns all policies of the source.

        Raises:
            BadInput: unknown kind, or no check with a key.
            NotFound: there is no such source.
        """
        if kind not in KINDS:
            raise BadInput(f'"{kind}" is no kind of document', hint=f"known are {', '.join(KINDS)}")
        if policy.duplicate == "off" and policy.key:
            raise BadInput("without a check no fields count", hint="leave the key fields out")

        async def work(connection: AsyncConnection) -> dict[str, Policy]:
            text = await rows.lock_policies(connection, source)
            if text is None:
                raise NotFound(f'there is no source "{source}"', hint="`counterflow-central sources list`")
            policies = {**policies_of(text), kind: policy}
            await rows.set_policies(connection, source, text_of(policies))
            detail = {"source": source, "kind": kind, **policy.model_dump()}
            now_ms = await self._database.now_ms(connection)
            await audit.record(connection, now_ms, who, "source.policy", detail)
            return policies

        return await self._database.run(work)
