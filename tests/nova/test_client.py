"""es_power's client of Nova beside a real one: what is said of the API in `es_power.nova` is true."""

import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio

from es_power.domain.events import InstanceId
from es_power.domain.states import PowerState, VmState
from es_power.errors import NovaOutcomeUnknownError, NovaRefusedError, NovaUnavailableError
from es_power.nova import NovaApi, Patience
from es_power.nova.exchange import Passage
from tests.nova.cloud import Person
from tests.nova.rig import NovaRig
from tests.nova.settings import HOST

pytestmark = pytest.mark.nova


def of(server: str) -> InstanceId:
    return InstanceId(UUID(server))


async def connect(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> NovaApi:
    for name in [name for name in os.environ if name.startswith("OS_")]:
        monkeypatch.delenv(name)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return await NovaApi.connect()


@pytest.fixture
async def api(nova: NovaRig, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NovaApi]:
    api = await connect(nova.environment(), monkeypatch)
    yield api
    api.close()


async def test_records_are_listed_by_host_and_asked_for_by_id(
    nova: NovaRig, api: NovaApi, boot: Callable[..., list[str]]
) -> None:
    booted = [of(server) for server in boot("one", "two", "three")]

    listed = {each.instance: each for each in await api.servers(host=HOST)}

    assert set(booted) <= set(listed)
    for instance in booted:
        record = listed[instance]
        assert (record.vm_state, record.task_state, record.power_state) == (VmState.ACTIVE, None, PowerState.RUNNING)
        assert (record.host, record.node) == (HOST, HOST)
        assert await api.server(instance) == record
    assert await api.servers(host="another") == []


async def test_all_pages_of_a_list_are_read(
    api: NovaApi, boot: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("es_power.nova.api._PAGE", 1)
    booted = {of(server) for server in boot("one", "two", "three")}

    listed = [each.instance for each in await api.servers(host=HOST)]

    assert booted <= set(listed)
    assert len(listed) == len(set(listed))


async def test_what_nova_does_not_know_is_none(api: NovaApi) -> None:
    assert await api.server(InstanceId(uuid4())) is None
    assert await api.actions(InstanceId(uuid4())) == ()


async def test_a_stop_is_accepted_once_and_its_id_is_in_the_history(nova: NovaRig, api: NovaApi, server: str) -> None:
    request = await api.stop(of(server))
    nova.until(server, "SHUTOFF")
    with pytest.raises(NovaRefusedError) as refusal:
        await api.stop(of(server))

    record, actions = await api.server(of(server)), await api.actions(of(server))
    assert refusal.value.status == 409
    assert record is not None
    assert (record.vm_state, record.power_state) == (VmState.STOPPED, PowerState.SHUTDOWN)
    assert [(each.action, each.request_id == request) for each in actions] == [("stop", True), ("create", False)]
    assert all(each.user_id and each.project_id for each in actions)


async def test_a_deleted_instance_is_in_the_list_of_changes_and_keeps_its_history(nova: NovaRig, api: NovaApi) -> None:
    begun = datetime.now(UTC)
    [server] = nova.boot("short-lived")
    nova.delete(server)

    with trio.fail_after(30):
        while await api.server(of(server)) is not None:
            await trio.sleep(0.1)
    changes = {each.instance: each.vm_state for each in await api.servers(host=HOST, changes_since=begun)}

    assert changes[of(server)] is VmState.DELETED
    assert of(server) not in {each.instance for each in await api.servers(host=HOST)}
    assert [each.action for each in await api.actions(of(server))] == ["delete", "create"]


async def test_expired_tokens_cost_nothing(nova: NovaRig, api: NovaApi, server: str) -> None:
    assert await api.server(of(server)) is not None
    nova.expire_tokens()

    await api.stop(of(server))
    nova.until(server, "SHUTOFF")

    assert [each["action"] for each in nova.actions(server)] == ["stop", "create"]


async def test_an_application_credential_is_enough(nova: NovaRig, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    api = await connect(nova.environment_of(nova.application_credential("client")), monkeypatch)

    assert await api.server(of(server)) is not None
    api.close()


async def test_a_cloud_of_clouds_yaml_is_enough(
    nova: NovaRig, server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    nova.write_clouds_yaml(tmp_path / "clouds.yaml")
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "clouds.yaml")])
    api = await NovaApi.connect(cloud="rig")

    assert await api.server(of(server)) is not None
    api.close()


async def test_an_account_that_is_no_administrator_is_told_so(
    nova: NovaRig, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = await connect(nova.environment(_member(nova)), monkeypatch)

    with pytest.raises(NovaRefusedError, match="role admin") as refusal:
        await api.servers(host=HOST)
    assert refusal.value.status == 403
    api.close()


def hasty(api: NovaApi) -> NovaApi:
    """The same account and connections, with less patience; the token is there already."""
    return NovaApi(api._wire, Patience(timeout=1.0))


async def test_an_api_that_was_killed_did_nothing_and_answers_after_its_start(
    nova: NovaRig, api: NovaApi, server: str
) -> None:
    assert await api.server(of(server)) is not None
    nova.kill_api()

    with pytest.raises(NovaUnavailableError):
        await hasty(api).server(of(server))
    with pytest.raises(NovaUnavailableError):
        await hasty(api).stop(of(server))
    nova.start_api()

    assert [each["action"] for each in nova.actions(server)] == ["create"]
    assert await api.server(of(server)) is not None


async def test_an_api_that_hangs_leaves_the_outcome_open_and_the_stop_may_come_later(
    nova: NovaRig, api: NovaApi, server: str
) -> None:
    assert await api.server(of(server)) is not None
    nova.services.api.hang()
    try:
        with pytest.raises(NovaOutcomeUnknownError):
            await hasty(api).stop(of(server))
    finally:
        nova.services.api.wake()

    # It was sent, and the API reads it when it wakes up: nobody may say that it had not been delivered.
    nova.until(server, "SHUTOFF")
    assert [each["action"] for each in nova.actions(server)] == ["stop", "create"]


async def test_keystone_that_hangs_keeps_the_stop_from_going_out(nova: NovaRig, api: NovaApi, server: str) -> None:
    nova.services.keystone.hang()
    try:
        with pytest.raises(NovaUnavailableError):
            await hasty(api).stop(of(server))
    finally:
        nova.services.keystone.wake()

    assert await api.server(of(server)) is not None
    assert [each["action"] for each in nova.actions(server)] == ["create"]


async def test_the_headers_of_a_stop_order_nothing_without_its_body(
    nova: NovaRig, api: NovaApi, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await api.server(of(server)) is not None
    with monkeypatch.context() as patched:
        patched.setattr(Passage, "check", lambda _: None)  # as if its time ended while it connected
        with pytest.raises(NovaUnavailableError, match="did not go out in time"):
            await api.stop(of(server), send_within=-1.0)

    record = await api.server(of(server))
    assert record is not None
    assert (record.vm_state, record.task_state) == (VmState.ACTIVE, None)
    assert [each["action"] for each in nova.actions(server)] == ["create"]
    # And it is not taken up later: the next one is the first.
    await api.stop(of(server))
    nova.until(server, "SHUTOFF")
    assert [each["action"] for each in nova.actions(server)] == ["stop", "create"]


def _member(nova: NovaRig) -> Person:
    """A new user who may use the project, and is no administrator."""
    person = Person(name=f"member-{uuid4().hex[:8]}", password="rig-member", project="admin")
    wanted = {"user": {"name": person.name, "password": person.password, "domain_id": "default"}}
    user = nova.admin.identity("POST", "/users", wanted).good()["user"]["id"]
    project = nova.admin.token().good()["token"]["project"]["id"]
    [role] = nova.admin.identity("GET", "/roles?name=member").good()["roles"]
    nova.admin.identity("PUT", f"/projects/{project}/users/{user}/roles/{role['id']}").good()
    return person
