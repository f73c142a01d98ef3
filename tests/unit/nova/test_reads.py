"""What Nova says, read as it says it; and every way in which its answer can fail to be one."""

import gzip
import json
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest
import structlog
import trio

from es_power.domain.states import PowerState, VmState
from es_power.errors import NovaAnswerError, NovaError, NovaRefusedError, NovaUnavailableError
from es_power.nova import NovaApi, ServerRecord
from es_power.testing import vm
from tests.rigs.scripted_nova import Reply, ScriptedNova

Connect = Callable[..., Awaitable[NovaApi]]

LIST = "GET /servers/detail"
TOKENS = "POST /auth/tokens"


async def test_a_record_says_what_nova_says(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1), name="web", **{"OS-EXT-STS:task_state": "powering-off"})

    record = ServerRecord(
        instance=vm(1),
        name="web",
        vm_state=VmState.ACTIVE,
        task_state="powering-off",
        power_state=PowerState.RUNNING,
        host="kvm-07",
        node="kvm-07",
        created="2026-01-01T00:00:00Z",
        updated=nova.servers[str(vm(1))]["updated"],
    )
    assert await api.server(vm(1)) == record
    assert list(await api.servers(host="kvm-07")) == [record]


async def test_only_the_instances_of_the_host_are_asked_for_of_all_projects(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    nova.add(vm(2), host="kvm-08")

    assert [each.instance for each in await api.servers(host="kvm-08")] == [vm(2)]
    assert nova.seen[-1].query["all_tenants"] == "1"


@pytest.mark.parametrize("count", [0, 3, 6, 7])
async def test_all_pages_are_read(nova: ScriptedNova, api: NovaApi, count: int) -> None:
    nova.page = 3
    for number in range(count):
        nova.add(vm(number))

    assert [each.instance for each in await api.servers(host="kvm-07")] == [vm(number) for number in range(count)]


async def test_deleted_instances_are_in_a_list_of_changes(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1), updated="2026-03-01T11:59:59Z")
    nova.add(vm(2), updated="2026-03-01T12:00:00Z", **{"OS-EXT-STS:vm_state": "deleted", "OS-EXT-STS:power_state": 0})
    since = datetime(2026, 3, 1, 14, 0, 0, 900_000, tzinfo=datetime.fromisoformat("2026-01-01T00:00+02:00").tzinfo)

    found = await api.servers(host="kvm-07", changes_since=since)

    assert [(each.instance, each.vm_state) for each in found] == [(vm(2), VmState.DELETED)]


async def test_a_time_without_a_zone_is_refused(api: NovaApi) -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        await api.servers(host="kvm-07", changes_since=datetime(2026, 3, 1))  # noqa: DTZ001


async def test_an_instance_that_nova_does_not_know_is_none(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1), **{"OS-EXT-STS:vm_state": "deleted"})

    assert await api.server(vm(1)) is None
    assert await api.server(vm(2)) is None


async def test_a_404_that_is_not_novas_says_nothing_of_the_instance(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail("GET /servers/", Reply(status=404, body=b"<html>Not Found</html>"))

    with pytest.raises(NovaRefusedError, match="is the compute endpoint"):
        await api.server(vm(1))


async def test_the_history_says_who_asked_and_that_novas_own_sync_is_nobody(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    nova.stopped_by_itself(vm(1))

    actions = await api.actions(vm(1))

    assert [(each.action, each.user_id, each.project_id) for each in actions] == [
        ("stop", None, None),
        ("create", "user", "project"),
    ]
    assert await api.actions(vm(2)) == ()


# --------------------------------------------------------------------------------------------- what cannot be read


@pytest.mark.parametrize(
    "broken",
    [
        {"OS-EXT-STS:vm_state": "frozen"},
        {"OS-EXT-STS:power_state": 2},
        {"OS-EXT-STS:power_state": None},
        {"id": "not-a-uuid"},
        {"OS-EXT-SRV-ATTR:host": ["kvm-07"]},
        {"name": 7},
    ],
)
async def test_an_entry_that_cannot_be_read_hides_no_other(
    nova: ScriptedNova, api: NovaApi, broken: dict[str, object]
) -> None:
    good, bad = nova.add(vm(1)), nova.add(vm(2)) | broken
    nova.fail(LIST, Reply.json({"servers": [bad, good, 7]}))

    with structlog.testing.capture_logs() as logs:
        found = await api.servers(host="kvm-07")

    assert [each.instance for each in found] == [vm(1)]
    assert [each["log_level"] for each in logs] == ["warning", "warning"]


async def test_one_instance_that_cannot_be_read_is_an_error(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1), **{"OS-EXT-STS:vm_state": "frozen"})

    with pytest.raises(NovaAnswerError, match="frozen"):
        await api.server(vm(1))


async def test_an_answer_about_another_instance_is_an_error(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail("GET /servers/", Reply.json({"server": nova.add(vm(2))}))

    with pytest.raises(NovaAnswerError, match="answered about"):
        await api.server(vm(1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>Please log in</html>",
        b'{"servers": [{"id": "',
        b'{"servers": {}}',
        b'{"servers": null}',
        b"[]",
        b'{"servers": [], "servers_links": [{"rel": "next", "href": "http://nova/servers/detail?limit=5"}]}',
        b'{"servers": []}\xff',
    ],
)
async def test_what_is_no_page_of_novas_is_one_clear_error(nova: ScriptedNova, api: NovaApi, body: bytes) -> None:
    nova.fail(LIST, Reply(body=body))

    with pytest.raises(NovaAnswerError):
        await api.servers(host="kvm-07")
    assert nova.asked(LIST) == 1


async def test_a_list_that_leads_back_to_itself_is_cut(nova: ScriptedNova, api: NovaApi) -> None:
    link = {"rel": "next", "href": f"/servers/detail?marker={vm(1)}"}
    nova.fail(LIST, *3 * [Reply.json({"servers": [], "servers_links": [link]})])

    with pytest.raises(NovaAnswerError, match="again and again"):
        await api.servers(host="kvm-07")
    assert nova.asked(LIST) == 2


async def test_a_list_without_an_end_is_cut(nova: ScriptedNova, api: NovaApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_power.nova.api.MOST_PAGES", 3)
    nova.page = 1
    for number in range(5):
        nova.add(vm(number))

    with pytest.raises(NovaAnswerError, match="more than 3 pages"):
        await api.servers(host="kvm-07")


async def test_a_list_whose_next_place_was_deleted_is_to_be_read_again(nova: ScriptedNova, api: NovaApi) -> None:
    nova.page = 1
    nova.add(vm(1))
    link = {"rel": "next", "href": f"/servers/detail?marker={vm(9)}"}
    nova.fail(LIST, Reply.json({"servers": [], "servers_links": [link]}))

    with pytest.raises(NovaUnavailableError, match="deleted meanwhile"):
        await api.servers(host="kvm-07")


@pytest.mark.parametrize("packed", [False, True])
async def test_an_answer_of_any_length_is_read_up_to_a_limit(
    nova: ScriptedNova, connect: Connect, packed: bool
) -> None:
    api = await connect(limit=2**20)
    bomb = Reply(body=gzip.compress(b" " * 2**24), headers={"Content-Encoding": "gzip"})
    nova.fail(LIST, bomb if packed else Reply.endless())

    with pytest.raises(NovaAnswerError, match="longer than 1048576 bytes"):
        await api.servers(host="kvm-07")


# ------------------------------------------------------------------------------------------------ who does not answer


@pytest.mark.parametrize(
    "fault",
    [
        Reply(status=429),
        Reply(status=500),
        Reply(status=502, body=b"<html>Bad Gateway</html>"),
        Reply(status=503),
        Reply(status=504),
        Reply.cut(),
        Reply(body=b'{"servers": []', missing=1),
    ],
    ids=lambda fault: f"{fault.status}-{fault.missing}",
)
async def test_a_read_that_fails_is_tried_again(nova: ScriptedNova, api: NovaApi, fault: Reply) -> None:
    nova.add(vm(1))
    nova.fail(LIST, fault, fault)

    assert len(await api.servers(host="kvm-07")) == 1
    assert nova.asked(LIST) == 3


async def test_the_tries_have_one_deadline(nova: ScriptedNova, connect: Connect) -> None:
    api = await connect(timeout=2.0, first_wait=0.01, longest_wait=0.1)
    nova.fail(LIST, *100 * [Reply(status=500, body=b'{"computeFault": {"message": "out of luck"}}')])

    # The last of them may be cut short by the deadline.
    with trio.fail_after(20), pytest.raises(NovaUnavailableError, match=r"500 out of luck|did not answer within 2 s"):
        await api.servers(host="kvm-07")

    assert 3 < nova.asked(LIST) < 100


async def test_a_read_waits_as_long_as_it_is_told(nova: ScriptedNova, api: NovaApi) -> None:
    nova.add(vm(1))
    nova.fail(LIST, Reply(status=429, headers={"Retry-After": "0.3"}))
    begun = time.monotonic()

    await api.servers(host="kvm-07")

    assert time.monotonic() - begun > 0.3


@pytest.mark.parametrize("date", [False, True])
async def test_a_read_that_is_told_to_wait_beyond_its_deadline_does_not(
    nova: ScriptedNova, api: NovaApi, date: bool
) -> None:
    later = (datetime.now(UTC) + timedelta(hours=1)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    nova.fail(LIST, Reply(status=503, headers={"Retry-After": later if date else "3600"}))

    with pytest.raises(NovaUnavailableError) as failure:
        await api.servers(host="kvm-07")
    assert failure.value.retry_after == pytest.approx(3600, abs=2)


async def test_an_answer_that_is_late_is_none(nova: ScriptedNova, connect: Connect) -> None:
    api = await connect(timeout=0.3)
    nova.fail(LIST, Reply(after=threading.Event()))

    with pytest.raises(NovaUnavailableError):
        await api.servers(host="kvm-07")


async def test_nobody_at_the_address_is_said(nova: ScriptedNova, connect: Connect) -> None:
    api = await connect(timeout=0.2)
    await api.servers(host="kvm-07")
    nova.close()

    with pytest.raises(NovaUnavailableError):
        await api.servers(host="kvm-07")


@pytest.mark.parametrize(("status", "hint"), [(400, "400"), (403, "role admin"), (404, "endpoint"), (410, "410")])
async def test_a_refusal_is_told_and_not_repeated(nova: ScriptedNova, api: NovaApi, status: int, hint: str) -> None:
    nova.fail(
        LIST,
        Reply.json({"forbidden": {"message": "Policy says no", "code": status}}, status=status),
    )

    with pytest.raises(NovaRefusedError, match=f"Policy says no.*{hint}|{hint}.*Policy says no") as failure:
        await api.servers(host="kvm-07")
    assert (failure.value.status, nova.asked(LIST)) == (status, 1)


async def test_a_redirect_is_not_followed_with_a_token(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(LIST, Reply(status=301, headers={"Location": f"{nova.url}/v2.1/servers"}))

    with pytest.raises(NovaRefusedError, match="compute_endpoint_override"):
        await api.servers(host="kvm-07")
    assert nova.asked("GET /servers") == 1


# ------------------------------------------------------------------------------------------------------------ tokens


async def test_a_token_is_asked_for_once_for_many_questions(nova: ScriptedNova, api: NovaApi) -> None:
    for _ in range(3):
        await api.servers(host="kvm-07")

    assert nova.asked(TOKENS) == 1


async def test_a_token_that_is_no_longer_taken_is_replaced_once(nova: ScriptedNova, api: NovaApi) -> None:
    await api.servers(host="kvm-07")
    nova.revoke_tokens()

    await api.servers(host="kvm-07")

    assert (nova.asked(TOKENS), nova.asked(LIST)) == (2, 3)


async def test_two_tokens_that_are_not_taken_are_a_refusal(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(LIST, *4 * [Reply(status=401)])

    with pytest.raises(NovaRefusedError, match="a new token was not taken either"):
        await api.servers(host="kvm-07")
    assert (nova.asked(TOKENS), nova.asked(LIST)) == (2, 2)


async def test_keystone_that_refuses_is_a_refusal(nova: ScriptedNova, api: NovaApi) -> None:
    nova.fail(TOKENS, *4 * [Reply.json({"error": {"message": "Wrong", "code": 401, "title": "No"}}, status=401)])

    with pytest.raises(NovaRefusedError, match="OS_PASSWORD"):
        await api.servers(host="kvm-07")
    assert nova.asked(LIST) == 0


@pytest.mark.parametrize(
    "fault",
    [
        Reply(status=500),
        Reply(status=503),
        Reply.cut(),
        Reply(status=201, body=b"<html>", headers={"X-Subject-Token": "t"}),
    ],
    ids=["500", "503", "cut", "html"],
)
async def test_keystone_that_fails_is_tried_again(nova: ScriptedNova, api: NovaApi, fault: Reply) -> None:
    nova.fail(TOKENS, fault, fault)

    assert await api.servers(host="kvm-07") == []


async def test_every_error_of_a_read_is_one_of_ours(nova: ScriptedNova, connect: Connect) -> None:
    nova.fail(TOKENS, Reply(status=201, body=json.dumps({"token": {}}).encode(), headers={"X-Subject-Token": "t"}))
    nova.fail(TOKENS, *100 * [Reply(status=201, body=b"{}")])

    with pytest.raises(NovaError):
        await (await connect(timeout=0.2)).servers(host="kvm-07")
