"""Reference page of problem names: found in the source, told in `MEANINGS`; a name without a meaning is a failure.

A name is the `code` of an error class, or the constant `code=` where one is raised. Names that are passed on in a
variable stand in `PASSED_ON`, with the class that bears them.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import central
import edge_agent
import shared
from shared.errors import Conflict, CounterflowError
from shared.protocol.problems import TYPE_PREFIX

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (shared, edge_agent, central)
PASSED_ON: dict[str, type[CounterflowError]] = {"gap": Conflict, "fork": Conflict}

MEANINGS: dict[str, tuple[str, str]] = {
    "bad-cursor": (
        "The feed's cursor was changed on the way, or belongs to another entity.",
        "Send the cursor as it came, or `start` to begin again.",
    ),
    "bad-definition-file": (
        "The file holds no integration's definition; `line` is where, as far as that can be told.",
        "Correct that line and send the file again.",
    ),
    "bad-input": (
        "What was sent cannot be understood or contradicts itself; `detail` names the place.",
        "Correct it and send it again.",
    ),
    "bad-mapping": (
        "An integration's fields cannot be mapped as written; `errors` names each field and what is wrong.",
        "Correct the fields that are named; `docs/howto/map-fields.md` teaches what may stand there.",
    ),
    "busy": (
        "Another process works on this database, folder or port.",
        "Stop the other one, or give this instance a folder and a port of its own.",
    ),
    "cannot-store": (
        "The disk refused a durable write: full, read-only or failing. Nothing was accepted.",
        "Free space on that disk or look at its health; then send the same again.",
    ),
    "catalog-lost": (
        "catalog.db was deleted or damaged; an empty one stands in its place and is being filled.",
        "Nothing; ask again in a moment. Selling goes on.",
    ),
    "code-expired": (
        "The enrolment code is older than HQ allowed.",
        "HQ draws a new one: `counterflow-central codes add --station CODE`.",
    ),
    "code-spent": (
        "The enrolment code was used by another machine.",
        "HQ draws a new one; if nobody knows of the other machine, HQ looks at the station's keys.",
    ),
    "config": (
        "A setting is missing or wrong.",
        "`config check` of the program says which; the reference of settings says what it takes.",
    ),
    "conflict": (
        "What was sent contradicts what is here already; nothing was overwritten.",
        "Look at what is here, then decide.",
    ),
    "connection-failed": (
        "The other side was not reached, or what answered was not ours.",
        "On a till `counterflow-agent doctor` says why. Selling goes on; everything is sent later.",
    ),
    "damaged-data": (
        "Stored bytes no longer fit their hash.",
        "Look at the disk. What is damaged is set aside and told to HQ; nothing else is lost.",
    ),
    "digest-differs": (
        "Pages of the catalog do not lead to the centre's digest; nothing of them was applied.",
        "Nothing: the scope is loaded whole. If the alarm `catalog-differs` stays, tell HQ.",
    ),
    "doc-id-conflict": (
        "This `doc_id` was accepted before with another payload, and is kept as it was.",
        "A correction is a document of its own, with its own `doc_id`.",
    ),
    "foreign-host": (
        "The `Host` header does not name this machine.",
        "Call `http://127.0.0.1:PORT`, not another name of the PC.",
    ),
    "foreign-origin": (
        "A web page of an origin that nobody allowed asked the local API.",
        "Name the origin in the setting `allowed_origins`, if it is yours.",
    ),
    "duplicate-document": (
        "A document with the same key is here already; `doc_id` and `number` name it, and nothing was stored.",
        "Nothing, if it was sent twice. What counts as a duplicate, and what is done with one, is a setting: "
        "`counterflow-central sources policy`.",
    ),
    "fork": (
        "The centre holds another branch of this epoch; `last` and `head` say how far.",
        "Nothing: the agent journals again, in a fresh epoch, what the centre does not have.",
    ),
    "gap": (
        "Documents before these are missing at the centre; `last` and `head` say how far it is.",
        "Nothing: the agent goes on from there.",
    ),
    "gone": (
        "A cursor, generation or snapshot that is not offered any more.",
        "Fetch the manifest again and go by it; agents do it by themselves.",
    ),
    "idempotency-key-missing": (
        "A document came with neither an `Idempotency-Key` nor a `doc_id`; after a lost answer it would be doubled.",
        "Draw a UUID with the receipt, send it, and keep it until the answer is there.",
    ),
    "idempotency-mismatch": (
        "This `Idempotency-Key` was used before, for a request with another content.",
        "Repeat a request unchanged; give every new document a new key.",
    ),
    "internal": (
        "A fault of the program itself.",
        "Its log says which, under the request's id. The same request may be sent again.",
    ),
    "invalid-fields": (
        "Fields are missing or wrong; `fields` lists each with the reason.",
        "Correct them and send it again.",
    ),
    "invalid-rows": (
        "Lines of a list are wrong; nothing of it was taken. `rows` names each line.",
        "Correct the lines and send the whole list again.",
    ),
    "key-revoked": (
        "HQ took this station's key, or this API key, back.",
        "Ask HQ why. A station comes back with `counterflow-central stations reinstate CODE`.",
    ),
    "malformed-body": (
        "The body is not framed as the protocol says: lines are missing, or its coding is cut.",
        "Send it again; if it comes back, look at what stands between till and centre.",
    ),
    "malformed-json": (
        "The text is not JSON, or no object.",
        "`detail` says at which place; correct it and send it again.",
    ),
    "method-not-allowed": (
        "The path is an operation's, but not with this method; the header `Allow` names those that it takes.",
        "Use one of them; `/openapi.json` lists all operations.",
    ),
    "no-answer": (
        "Bytes left for another system and no answer came: it may have taken effect.",
        "Nothing: the system is asked before anything is sent again.",
    ),
    "not-allowed": (
        "We know who is asking, and this is not theirs to do.",
        "Use a key of the role that `detail` names, or ask who may.",
    ),
    "not-approved": (
        "The station came with a code for a group and waits for HQ. It sells meanwhile.",
        "HQ takes it in: `counterflow-central stations approve CODE`.",
    ),
    "not-authenticated": (
        "No credential came, or none that we know.",
        "Send `Authorization: Bearer ...`; a station that the centre has forgotten enrols with `--again`.",
    ),
    "not-enrolled": (
        "This instance of the agent is no station yet.",
        "Get a code from HQ: `counterflow-agent enroll CODE --server URL`.",
    ),
    "not-found": (
        "There is nothing of that name here.",
        "Look at the spelling; the `list` command of its kind shows what there is.",
    ),
    "not-our-server": (
        "Something answered that is not a Counterflow centre, such as a captive portal or a proxy.",
        "`counterflow-agent doctor` says what answered. Look at the address and at the proxy.",
    ),
    "nothing-to-allocate": (
        "An amount was to be split by weights that are all 0.",
        "Give at least one line a weight above 0.",
    ),
    "other-centre": (
        "The address leads to another centre than the one that enrolled this station.",
        "Look at `server_url`. To move to that centre, enrol with a code from it.",
    ),
    "refused": (
        "The centre refused, and gave no name of its own.",
        "`detail` says why.",
    ),
    "session-expired": (
        "The session token is older than ten minutes, or of before a restart.",
        "Nothing: agents open a new session.",
    ),
    "stale-nonce": (
        "A session that is older than the newest one of this station.",
        "Nothing: agents say hello again.",
    ),
    "target-away": (
        "Another system is not reachable or busy; nothing was sent, and no attempt is used.",
        "Nothing, if it is known; it is tried again. `counterflow-central integrations list` shows the problem.",
    ),
    "target-denies": (
        "Another system does not let us in. Its deliveries wait; nothing is parked.",
        "Correct the credentials or rights, then `counterflow-central integrations run NAME`.",
    ),
    "target-rejects": (
        "Another system refuses a document for what is in it.",
        "After enough tries it is parked. Repair the cause, then `counterflow-central deliveries retry NAME`.",
    ),
    "too-large": (
        "A body, batch, row or document is above its stated limit.",
        "Make it smaller: `detail` gives size and limit. Pictures and the like belong elsewhere.",
    ),
    "too-slow": (
        "The body did not arrive in time.",
        "Send it again; a line this slow is worth a look.",
    ),
    "unavailable": (
        "A part that is needed cannot be reached just now.",
        "Send the same again, after `retry_after_s` where it is given.",
    ),
    "unfit-document": (
        "A stored document cannot be turned into rows. It is parked and delays nobody.",
        "`counterflow-central parked list` groups them by cause, `counterflow-central parked repair` repairs them.",
    ),
    "unknown-code": (
        "Nobody here drew this enrolment code.",
        "Copy the whole code, or ask HQ for a new one.",
    ),
    "unknown-consumer": (
        "The feed has no consumer of that name.",
        "HQ makes it: `counterflow-central consumers add NAME --store STORE`.",
    ),
    "unknown-encoding": (
        "The body's `Content-Encoding` is none that is taken here.",
        "The local API takes plain JSON, the centre plain or zstd.",
    ),
    "unknown-entity": (
        "The catalog has no entity of that name.",
        "`hint` lists them; the [catalog](catalog.md) describes each.",
    ),
    "unknown-kind": (
        "This agent, or this centre, does not know that kind of document.",
        "`hint` lists the kinds that it takes; for a newer one update it.",
    ),
    "unmapped-record": (
        "A record cannot be mapped; `errors` names each field of the target, what is wrong, and the value.",
        "Correct the record or the mapping; enter a code without counterpart in the cross-reference.",
    ),
    "wrong-answer": (
        "An answer was cut, changed on the way, or belongs to another request. Nothing was believed of it.",
        "Nothing: it is asked again. If it stays, look at the proxy between till and centre.",
    ),
    "wrong-chain": (
        "The hashes of a push do not follow from one another; nothing was stored.",
        "Run `counterflow-agent verify` on the till.",
    ),
    "wrong-count": (
        "A push announces another number of documents than it holds; nothing was stored.",
        "Nothing: the agent sends it again.",
    ),
    "wrong-digest": (
        "The body does not fit its `Content-Digest`: it was changed or cut on the way.",
        "Send it again; if it stays, look at the proxy between.",
    ),
    "wrong-schema": (
        "The database's schema is not the one of this version of the centre.",
        "Run `counterflow-central migrate`, or start the version that fits.",
    ),
    "wrong-signature": (
        "A push or session is not signed by the station's key.",
        "Enrol the machine again with a code from HQ.",
    ),
}


@cache
def error_classes() -> tuple[type[CounterflowError], ...]:
    """Every error class of ours."""
    for package in PACKAGES:
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations" not in module.name and not module.name.endswith(("__main__", ".lean")):
                importlib.import_module(module.name)
    found: list[type[CounterflowError]] = []
    waiting: list[type[CounterflowError]] = [CounterflowError]
    while waiting:
        one = waiting.pop()
        if one.__module__.split(".")[0] in {package.__name__ for package in PACKAGES}:
            found.append(one)
        waiting += one.__subclasses__()
    return tuple(found)


@cache
def problems() -> dict[str, frozenset[type[CounterflowError]]]:
    """Every problem name with the classes that bear it."""
    found: dict[str, set[type[CounterflowError]]] = {name: {bearer} for name, bearer in PASSED_ON.items()}
    for one in error_classes():
        if "code" in vars(one):
            found.setdefault(one.code, set()).add(one)
    by_name = {one.__name__: one for one in error_classes()}
    for bearer, name in _raised(set(by_name)):
        found.setdefault(name, set()).add(by_name[bearer])
    return {name: frozenset(bearers) for name, bearers in found.items()}


def page() -> str:
    """docs/reference/errors.md."""
    lines = [
        "# Problems",
        "",
        "Every refusal over HTTP is a problem document (RFC 9457): `type` is `"
        + TYPE_PREFIX
        + "` and the name below,",
        "`detail` says what, where and why, `hint` what to do, `retryable` whether the same request may work later.",
        "The command lines say the same words and end with the exit code.",
        "",
    ]
    for name, bearers in sorted(problems().items()):
        meaning, to_do = MEANINGS[name]
        statuses = " or ".join(str(status) for status in sorted({one.status for one in bearers}))
        exits = " or ".join(
            str(code) for code in sorted({one.exit_code for one in bearers if isinstance(one.exit_code, int)})
        )
        again = "; the same may work later" if all(one.retryable for one in bearers) else ""
        lines += [
            f"## {name}",
            "",
            f"Status {statuses}, exit code {exits or 1}{again}. {meaning}",
            "",
            f"*What to do:* {to_do}",
            "",
        ]
    return "\n".join(lines)


def _raised(classes: set[str]) -> Iterator[tuple[str, str]]:
    for package in PACKAGES:
        for file in sorted(Path(package.__path__[0]).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if not (
                    isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in classes
                ):
                    continue
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        yield node.func.id, str(keyword.value.value)
