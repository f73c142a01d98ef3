"""A stop is asked for once, and what is known afterwards is never more than what can be known."""

import socket
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from es_power.errors import NovaOutcomeUnknownError, NovaRefusedError, NovaUnavailableError
from es_power.nova import NovaApi
from es_power.testing import vm
from tests.rigs.scripted_nova import Reply, ScriptedNova

Connect = Callable[..., Awaitable[NovaApi]]

STOP = "POST /action"
TOKENS = "POST /auth/tokens"


def stops(nova: ScriptedNova) -> int:
    """How often the instance was really stopped."""
    return sum(action["action"] == "stop" for action in nova.actions[str(vm(1))])


@pytest.fixture(autouse=True)
def server(nova: ScriptedNova) -> None:
    nova.add(vm(1))


async def test_an_accepted_stop_gives_the_id_that_novas_history_has(nova: ScriptedNova, api: NovaApi) -> None:
    request = await api.stop(vm(1))

    assert request == (await api.actions(vm(1)))[0].request_id
    assert (nova.asked(STOP), stops(nova)) == (1, 1)


async def test_what_was_accepted_is_accepted_whatever_comes_after(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(STOP, Reply(status=202, missing=7))

    await api.stop(vm(1))


async def test_a_second_stop_is_refused_with_novas_words(nova: ScriptedNova, api: NovaApi) -> None:
    await api.stop(vm(1))

    with pytest.raises(NovaRefusedError, match="Cannot 'stop' instance") as refusal:
        await api.stop(vm(1))
    assert (refusal.value.status, stops(nova)) == (409, 1)


async def test_an_instance_that_nova_does_not_know_is_refused(api: NovaApi) -> None:
    with pytest.raises(NovaRefusedError) as refusal:
        await api.stop(vm(2))
    assert refusal.value.status == 404


@pytest.mark.parametrize("status", [301, 307, 400, 403, 404, 405, 409, 413])
async def test_a_refusal_means_that_nothing_was_done(nova: ScriptedNova, api: NovaApi, status: int) -> None:
    nova.fail(STOP, Reply(status=status, headers={"Location": f"{nova.url}/v2.1/servers/{vm(1)}/action"}))

    with pytest.raises(NovaRefusedError) as refusal:
        await api.stop(vm(1))
    assert (refusal.value.status, nova.asked(STOP), stops(nova)) == (status, 1, 0)


@pytest.mark.parametrize("status", [408, 429, 503])
async def test_who_is_busy_did_nothing_and_is_not_asked_again_by_itself(
    nova: ScriptedNova, api: NovaApi, status: int
) -> None:
    nova.fail(STOP, Reply(status=status, headers={"Retry-After": "7"}))

    with pytest.raises(NovaUnavailableError) as failure:
        await api.stop(vm(1))
    assert (failure.value.retry_after, nova.asked(STOP)) == (7, 1)


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=500, does=True),
        Reply(status=501, does=True),
        Reply(status=502, does=True, body=b"<html>Bad Gateway</html>"),
        Reply(status=504, does=True),
        Reply(status=200, body=b"<html>Please log in</html>"),
        Reply.cut(does=True),
        Reply.cut(),
    ],
    ids=["500", "501", "502", "504", "200", "cut after", "cut before"],
)
async def test_where_nobody_knows_what_became_of_it_nothing_is_repeated(
    nova: ScriptedNova, api: NovaApi, reply: Reply
) -> None:
    nova.fail(STOP, reply)

    with pytest.raises(NovaOutcomeUnknownError):
        await api.stop(vm(1))
    assert (nova.asked(STOP), stops(nova)) == (1, int(reply.does))


async def test_a_stop_that_is_answered_too_late_has_an_unknown_outcome(nova: ScriptedNova, connect: Connect) -> None:
    nova.fail(STOP, Reply.late(threading.Event()))

    with pytest.raises(NovaOutcomeUnknownError):
        await (await connect(timeout=0.5)).stop(vm(1))
    assert (nova.asked(STOP), stops(nova)) == (1, 1)


async def test_a_connection_that_is_refused_means_that_nothing_was_sent(
    nova: ScriptedNova, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        monkeypatch.setenv("OS_COMPUTE_ENDPOINT_OVERRIDE", f"http://127.0.0.1:{taken.getsockname()[1]}/v2.1")

        with pytest.raises(NovaUnavailableError, match="check its API"):
            await (await connect()).stop(vm(1))
    assert nova.asked(TOKENS) == 1


async def test_a_name_that_nobody_has_means_that_nothing_was_sent(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OS_COMPUTE_ENDPOINT_OVERRIDE", "http://nobody.invalid/v2.1")

    with pytest.raises(NovaUnavailableError, match=r"nobody\.invalid"):
        await (await connect()).stop(vm(1))


async def test_a_connection_that_was_closed_while_idle_costs_no_certainty(nova: ScriptedNova, api: NovaApi) -> None:
    await api.server(vm(1))
    nova.hang_up()

    await api.stop(vm(1))

    assert stops(nova) == 1


# ------------------------------------------------------------------------------------------------------------ tokens


async def test_an_expired_token_is_replaced_and_the_stop_happens_once(nova: ScriptedNova, api: NovaApi) -> None:
    await api.server(vm(1))
    nova.revoke_tokens()

    await api.stop(vm(1))

    assert (nova.asked(TOKENS), nova.asked(STOP), stops(nova)) == (2, 2, 1)


async def test_two_tokens_that_are_not_taken_are_a_refusal(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(STOP, *3 * [Reply(status=401)])

    with pytest.raises(NovaRefusedError) as refusal:
        await api.stop(vm(1))
    assert (refusal.value.status, nova.asked(STOP)) == (401, 2)


@pytest.mark.parametrize("fault", [Reply.cut(), Reply(status=503), Reply(status=500)], ids=["cut", "503", "500"])
async def test_without_a_token_nothing_was_sent(nova: ScriptedNova, api: NovaApi, fault: Reply) -> None:
    nova.fail(TOKENS, fault)

    with pytest.raises(NovaUnavailableError, match="Keystone"):
        await api.stop(vm(1))
    assert nova.asked(STOP) == 0


@pytest.mark.parametrize("fault", [Reply.cut(), Reply(status=503)], ids=["cut", "503"])
async def test_keystone_that_fails_between_two_tries_leaves_the_stop_undone(
    nova: ScriptedNova, api: NovaApi, fault: Reply
) -> None:
    await api.server(vm(1))
    nova.revoke_tokens()
    nova.fail(TOKENS, fault)

    with pytest.raises(NovaUnavailableError):
        await api.stop(vm(1))
    assert stops(nova) == 0


async def test_keystone_that_hangs_between_two_tries_leaves_the_stop_undone(
    nova: ScriptedNova, connect: Connect
) -> None:
    api, awake = await connect(timeout=0.5), threading.Event()
    await api.server(vm(1))
    nova.revoke_tokens()
    nova.fail(TOKENS, Reply.late(awake))

    with pytest.raises(NovaUnavailableError):
        await api.stop(vm(1))
    awake.set()
    await until_idle(api)

    assert (nova.asked(STOP), stops(nova)) == (1, 0)


# -------------------------------------------------------------------------------------------- what is not sent any more


async def until_idle(api: NovaApi) -> None:
    """Wait until no thread of the client lives."""
    with trio.fail_after(10):
        while api._limiter.borrowed_tokens:
            await trio.sleep(0.005)


async def test_a_stop_that_was_given_up_is_not_sent_when_keystone_wakes_up(
    nova: ScriptedNova, connect: Connect
) -> None:
    api, awake = await connect(timeout=0.3), threading.Event()
    nova.fail(TOKENS, Reply.late(awake))

    with pytest.raises(NovaUnavailableError):
        await api.stop(vm(1))
    awake.set()
    await until_idle(api)

    assert nova.asked(STOP) == 0


async def test_a_stop_whose_task_was_cancelled_is_not_sent(nova: ScriptedNova, api: NovaApi) -> None:
    awake = threading.Event()
    nova.fail(TOKENS, Reply.late(awake))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(api.stop, vm(1))
        await trio.to_thread.run_sync(nova.wait_asked, TOKENS)
        nursery.cancel_scope.cancel()
    awake.set()
    await until_idle(api)

    assert nova.asked(STOP) == 0


async def test_a_stop_goes_out_within_its_window_or_not_at_all(nova: ScriptedNova, api: NovaApi) -> None:
    awake = threading.Event()
    nova.fail(TOKENS, Reply.late(awake))
    begun = time.monotonic()

    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def stop() -> None:
            with pytest.raises(NovaUnavailableError, match="did not go out in time"):
                await api.stop(vm(1), send_within=0.2)

        await trio.to_thread.run_sync(nova.wait_asked, TOKENS)
        await trio.sleep(begun + 0.25 - time.monotonic())
        awake.set()

    assert nova.asked(STOP) == 0


async def test_a_stop_that_waits_for_threads_that_hang_is_not_sent(nova: ScriptedNova, connect: Connect) -> None:
    api, awake = await connect(timeout=0.3), threading.Event()
    await api.server(vm(1))
    nova.fail("GET /servers/", *8 * [Reply.late(awake)])

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(_read_in_vain, api)
        await trio.to_thread.run_sync(nova.wait_asked, "GET /servers/", 9)
        with pytest.raises(NovaUnavailableError):
            await api.stop(vm(1), send_within=0.0)
    awake.set()
    await until_idle(api)

    assert nova.asked(STOP) == 0


async def _read_in_vain(api: NovaApi) -> None:
    with pytest.raises(NovaUnavailableError):
        await api.server(vm(1))
