"""Approving and rejecting over HTTP: passed on to the actor with who asked, once for each key."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import trio

from es_power.dispatch.door import AnyWish, keep_door
from es_power.domain.access import Role
from es_power.errors import CommandStateError, LogUnavailableError
from tests.api.house import Running, running


class Heard:
    """An actor's door that remembers."""

    def __init__(self) -> None:
        self.wishes: list[tuple[str, str, str]] = []

    async def hear(self, wish: AnyWish, by: str) -> str:
        if wish.why == "full":
            raise LogUnavailableError("the disk is full")
        if wish.why == "no":
            raise CommandStateError("the command is Withdrawn")
        self.wishes.append((type(wish).__name__, by, wish.why))
        return "done"


@asynccontextmanager
async def acting(api: Running) -> AsyncIterator[Heard]:
    heard = Heard()
    async with trio.open_nursery() as nursery:
        await nursery.start(keep_door, api.house.door, heard.hear)
        yield heard
        nursery.cancel_scope.cancel()


async def path(client: httpx.AsyncClient, wish: str) -> str:
    first = (await client.get("/v1/commands")).json()["items"][0]
    return f"/v1/commands/{first['id']}/{wish}"


async def test_a_wish_reaches_the_actor_with_who_asked(api: Running) -> None:
    issued = await api.token(Role.OPERATE, name="deploy")
    headers = {"Authorization": f"Bearer {issued.secret}"}
    async with acting(api) as heard, api.client(uid=None, headers=headers) as client:
        approved = await client.post(await path(client, "approve"), json={"why": "it is planned"})
        rejected = await client.post(await path(client, "reject"), json={"why": "it is not"})

    assert [(each.status_code, each.json()) for each in (approved, rejected)] == [(200, {"said": "done"})] * 2
    assert [(kind, why) for kind, _, why in heard.wishes] == [("Approve", "it is planned"), ("Reject", "it is not")]
    assert all(by.startswith("token deploy, through ") for _, by, _ in heard.wishes)


async def test_a_key_stands_for_one_request(api: Running) -> None:
    key = {"Idempotency-Key": "k-1"}
    async with acting(api) as heard, api.client() as client:
        where = await path(client, "approve")
        answers = [await client.post(where, json={"why": "x"}, headers=key) for _ in range(3)]
        other = await client.post(where, json={"why": "y"}, headers=key)
        keyless = [await client.post(where, json={"why": "x"}) for _ in range(2)]

    assert [each.status_code for each in (*answers, *keyless)] == [200] * 5
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
    assert len(heard.wishes) == 3


async def test_what_speaks_against_it_is_told_and_may_be_tried_again(api: Running) -> None:
    key = {"Idempotency-Key": "k-2"}
    async with api.client() as client:
        where = await path(client, "approve")
        nobody = await client.post(where, json={"why": "x"}, headers=key)
        async with acting(api):
            refused = await client.post(where, json={"why": "no"})
            then = await client.post(where, json={"why": "x"}, headers=key)

    assert (nobody.status_code, nobody.json()["type"]) == (503, "/problems/no-actor")
    assert (refused.status_code, refused.json()["detail"]) == (409, "the command is Withdrawn")
    assert then.status_code == 200


async def test_a_log_that_does_not_take_it_is_to_be_asked_again(api: Running) -> None:
    async with api.client() as client, acting(api) as heard:
        refused = await client.post(
            await path(client, "approve"), json={"why": "full"}, headers={"Idempotency-Key": "k"}
        )

    assert (refused.status_code, refused.json()["type"]) == (503, "/problems/log-unavailable")
    assert (refused.json()["detail"], refused.headers["retry-after"]) == ("the disk is full", "5")
    assert (heard.wishes, api.house.done.kept) == ([], {})


async def test_a_wish_without_a_reason_is_none(night: Path) -> None:
    async with running(night) as api, api.client() as client:
        where = await path(client, "approve")
        wrong = [
            await client.post(where, json={}),
            await client.post(where, json={"why": "  "}),
            await client.post(where, json={"why": "x", "force": True}),
            await client.post(where, content=b"{", headers={"Content-Type": "application/json"}),
            await client.post(where, content=b"why=x"),
        ]

    assert {(each.status_code, each.json()["type"]) for each in wrong} == {(422, "/problems/invalid-request")}
