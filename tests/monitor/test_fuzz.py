"""Requests made from the API's own description, right and wrong ones, to a served node: each gets an answer that it describes.

    CRDTSYNC_FUZZ=100 CRDTSYNC_FUZZ_SEED=7 pytest tests/monitor/test_fuzz.py

makes more of them, and others.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from crdtsync import limits
from crdtsync.monitor.serve import serve
from crdtsync.monitor.tokens import tokens_of
from crdtsync.node import Node
from crdtsync.node.verbs import BUILT_IN
from tests.monitor.house import SCHEMA, config_of, create, move

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

EXAMPLES = int(os.environ.get("CRDTSYNC_FUZZ", "4"))
SEED = int(os.environ.get("CRDTSYNC_FUZZ_SEED", "1"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NO_HTTP = "Invalid HTTP request received."
ANYBODY = {"POST /api/enter", "GET /health/live"}
ANY_TOKEN = {*ANYBODY, "POST /api/leave"}

# What there is: half of the requests name it, so that they come further than to "there is no such record".
KNOWN = {
    "category": "stock",
    "key": "p1",
    "store": "loja1",
    "id": "stock/loja1/p1#T01",
    "rule": "T01",
    "option": "aceitar",
    "person": "ana",
    "why": "chega hoje",
    "severity": "M",
    "status": "all",
    "direction": "upload",
}


@dataclass
class Attack:
    """Requests of one caller, and what came of them."""

    base: str
    described: dict[str, Any]
    token: str | None
    examples: int
    seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    found: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Ask for everything that is described, in both ways."""
        described = schemathesis.openapi.from_dict(self.described)
        described.config.update(base_url=self.base)
        for result in described.get_all_operations():
            assert isinstance(result, Ok), result
            operation = result.ok()
            for mode in GenerationMode:
                if mode.is_positive or operation.body or list(operation.iter_parameters()):
                    self._ask(operation, mode)

    def _ask(self, operation: Any, mode: GenerationMode) -> None:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}

        @seed(SEED)
        @settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(mode), known=st.booleans())
        def ask(case: Any, known: bool) -> None:
            if known:
                for container in (case.path_parameters, case.query, *_objects(case.body)):
                    container.update((name, KNOWN[name]) for name in container.keys() & KNOWN.keys())
            answer = case.call(headers=headers)
            self.seen[operation.label, answer.status_code] += 1
            if answer.status_code == 400 and answer.text == NO_HTTP:
                # It came to no application: a header's name with a space, more bytes than a head may have.
                return
            case.validate_response(answer, checks=CHECKS)

        try:
            ask()
        except FailureGroup as failures:
            self.found += [f"{operation.label} ({mode.value}): {one}" for one in failures.exceptions]


def _objects(body: Any) -> Iterator[dict[str, Any]]:
    if isinstance(body, dict):
        yield body
        operations = body.get("operations")
        yield from (
            (one for one in operations if isinstance(one, dict)) if isinstance(operations, list) else ()
        )


async def state_of(node: Node) -> Any:
    """What a request could have changed."""
    return await BUILT_IN["digests"](node, {}), node.uplink.memory.dump()


@pytest.mark.timeout(60 + 30 * EXAMPLES)
async def test_every_answer_is_one_that_the_description_knows_and_only_the_resolver_changes_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A stream ends after its first event.
    monkeypatch.setattr(limits, "MONITOR_STREAM_SECONDS_MAX", 0.0)
    async with Node(config_of(tmp_path), schema=SCHEMA) as node, serve(node) as port:
        base, tokens = f"http://127.0.0.1:{port}", tokens_of(tmp_path)
        await BUILT_IN["person"](node, {"person": "ana", "name": "Ana"})
        async with httpx.AsyncClient(
            base_url=base, headers={"Authorization": f"Bearer {tokens.resolver}"}
        ) as client:
            operations = [create("products", "p1", name="Café"), create("stock", "p1"), move("p1", "-1.000")]
            written = await client.post(
                "/api/transactions", json={"idempotency_key": "1", "operations": operations}
            )
            assert written.status_code == 200, written.text
            described = (await client.get("/api/openapi.json")).json()
        before = await state_of(node)
        for token, allowed in ((None, ANYBODY), (tokens.reader, ANY_TOKEN)):
            attack = Attack(base, described, token, max(1, EXAMPLES // 4))
            await asyncio.to_thread(attack.run)
            assert attack.found == []
            passed = {label for label, status in attack.seen if status < 400}
            assert {label for label in passed if token is None or label.startswith("POST")} <= allowed
            assert await state_of(node) == before
        attack = Attack(base, described, tokens.resolver, EXAMPLES)
        await asyncio.to_thread(attack.run)
        assert attack.found == []
        assert await state_of(node) != before
