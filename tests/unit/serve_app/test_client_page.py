"""The code of docs/client.md, run against the service."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from factories_serve import journalled, make_places, running_client, transaction

from serve_app import errors

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "client.md").read_text()


@pytest.fixture
def page() -> Any:
    """What the page's code defines, without its pauses."""
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(code, "docs/client.md", "exec"), names)  # noqa: S102 - the page's own
    names["PAUSE_S"] = 0.0
    return SimpleNamespace(**names)


class Losing(httpx.AsyncBaseTransport):
    """Loses the answers to the first requests; the service has done its work all the same."""

    def __init__(self, service: httpx.AsyncBaseTransport, losses: int) -> None:
        self._service = service
        self.losses = losses

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._service.handle_async_request(request)
        if self.losses:
            self.losses -= 1
            raise httpx.ReadTimeout("lost")
        return response


def through(client: httpx.AsyncClient, losses: int) -> tuple[httpx.AsyncClient, Losing]:
    losing = Losing(client._transport, losses)
    return httpx.AsyncClient(transport=losing, base_url="http://test"), losing


def test_lost_answers_are_asked_for_again(tmp_path: Path, page: Any) -> None:
    places = make_places(tmp_path)

    async def scenario() -> None:
        async with running_client(places) as (client, _):
            gateway, _ = through(client, losses=3)
            assert await page.decide(gateway, transaction(), []) == "approve"
            answered = {record["answer"]["decided_at"] for record in journalled(places)}
            assert len(answered) == 1

    asyncio.run(scenario())


def test_a_gateway_without_an_answer_decides_and_reports(tmp_path: Path, page: Any) -> None:
    async def scenario() -> None:
        async with running_client(make_places(tmp_path)) as (client, _):
            gateway, losing = through(client, losses=10**6)
            unheard: list[dict[str, Any]] = []
            small, large = transaction(), transaction(transaction_id="tx-2", amount_minor=5_000)
            decided = [await page.decide(gateway, each, unheard) for each in (small, large)]
            assert decided == ["approve", "review"]
            await page.report(gateway, unheard)
            assert unheard == [small, large]
            losing.losses = 0
            await page.report(gateway, unheard)
            assert unheard == []

    asyncio.run(scenario())


def test_a_refusal_is_not_repeated(tmp_path: Path, page: Any) -> None:
    async def scenario() -> None:
        async with running_client(make_places(tmp_path)) as (client, _):
            with pytest.raises(Exception, match="missing_field"):
                await page.decide(client, {"transaction_id": "tx-1"}, [])

    asyncio.run(scenario())


def test_the_page_explains_every_code() -> None:
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type)
        and issubclass(kind, errors.RequestError)
        and kind is not errors.RequestError
    }
    assert {code for code in codes if f"`{code}`" not in PAGE} <= {"method_not_allowed"}
