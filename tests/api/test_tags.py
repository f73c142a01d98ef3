"""What an answer depends on has its tag changed: whoever asks again with the old tag is sent what is so now."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from es_power.domain.events import Event, InstanceEvent, InstanceNamed, Position
from es_power.domain.logged import FactImported, QemuStarted
from es_power.domain.ports import Append, LabelText, Write
from es_power.domain.streams import imported
from es_power.log import SqlLog
from es_power.log.codec import Codec
from es_power.log.labels import make_label
from es_power.projections.queries import status
from es_power.testing.facts import SOMEBODY, vm
from es_power.upkeep.forgetting import find_namings, forget
from tests.acceptance.night import NOW, OLD, STREAM, WEB
from tests.api.house import Running, running
from tests.api.test_answers import get, rename

STRANGER = vm(9)
TOLD = imported("jsonl", "kvm-08")


async def add(api: Running, stream: str, *events: Event, labels: Sequence[LabelText] = ()) -> Position:
    """Append facts, and have them folded."""
    log: SqlLog = api.house.log
    write = Write(stream=stream, expected=await log.version(stream), events=events)
    position = await log.append(Append(writes=[write], labels=labels))
    await api.house.follower.reached(position)
    return position


def of_another_log(event: InstanceEvent, number: int = 1) -> Event:
    """A fact as it is imported out of an export."""
    topic, state = Codec().encode(event)
    return FactImported(
        observed_at=event.observed_at,
        stream="observer/kvm-08/qemu",
        version=number,
        position=number,
        recorded_then=NOW,
        topic=topic,
        state=state,
    )


async def again(api: Running, answer: httpx.Response) -> httpx.Response:
    """Ask once more, by the tag of the time before."""
    return await get(api, str(answer.request.url), **{"If-None-Match": answer.headers["etag"]})


def body(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    return answer.json()


# ------------------------------------------------------------------------------------------------- what was imported


async def test_a_vm_that_is_known_from_an_import_alone_is_an_answer(api: Running) -> None:
    await add(api, TOLD, QemuStarted(observed_at=NOW, instance=STRANGER, file=SOMEBODY, offset=1))

    [row] = body(await get(api, f"/v1/vms/{STRANGER}?all=true"))["items"]

    assert (row["instance"], row["host"]) == (str(STRANGER), "kvm-08")
    assert body(await get(api, f"/v1/vms/{STRANGER}")) == {"items": [row]}


@pytest.mark.parametrize("opened", [False, True])
async def test_a_vm_that_an_import_adds_changes_the_tag(api: Running, *, opened: bool) -> None:
    before = await get(api, "/v1/vms?all=true")
    started = QemuStarted(observed_at=NOW, instance=STRANGER, file=SOMEBODY, offset=1)
    await add(api, TOLD, started if opened else of_another_log(started))

    after = body(await again(api, before))

    assert str(STRANGER) in {row["instance"] for row in after["items"]}


async def test_a_name_that_an_import_tells_changes_the_tag_of_its_vm_alone(api: Running) -> None:
    started = QemuStarted(observed_at=NOW, instance=STRANGER, file=SOMEBODY, offset=1)
    await add(api, TOLD, of_another_log(started))
    before, other = await get(api, f"/v1/vms/{STRANGER}"), await get(api, "/v1/vms/web-1")
    label, text = make_label("far-1")
    named = InstanceNamed(observed_at=NOW, instance=STRANGER, name=label)
    await add(api, TOLD, of_another_log(named, 2), labels=[text])

    [row] = body(await again(api, before))["items"]

    assert row["name"] == "far-1"
    assert (await again(api, other)).status_code == 304


# ------------------------------------------------------------------------------------------------ what was set aside


@pytest.mark.parametrize("path", ["/v1/vms", "/v1/vms/web-1"])
async def test_a_record_that_is_set_aside_changes_the_tag_of_what_it_leaves_in_doubt(
    api: Running, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    before = await get(api, path)
    with monkeypatch.context() as newer:
        newer.setattr(Codec, "encode", lambda *_: ("Unheard:9", b"\xc0"))
        await add(api, STREAM, InstanceNamed(observed_at=NOW, instance=WEB, name=SOMEBODY))

    after = body(await again(api, before))

    assert {row["power_state"] for row in before.json()["items"]} != {"UNKNOWN"}
    assert {row["power_state"] for row in after["items"]} == {"UNKNOWN"}


# ---------------------------------------------------------------------------------------------- what was forgotten


FORGETTING = [
    ("alice", f"/v1/vms/{WEB}/history"),
    ("alice", f"/v1/vms/{WEB}/history?known_at=80"),
    ("alice", "/v1/events?limit=30"),
    ("web-1", f"/v1/vms/{WEB}?known_at=80"),
    ("web-1", f"/v1/vms/{WEB}/why?known_at=80"),
    ("web-1", "/v1/timeline?until=2026-11-22T03:20:00Z&known_at=2026-11-22T03:20:30Z"),
]


async def forgotten(api: Running, target: str) -> None:
    done = await forget(api.house.log, await find_namings(api.house.log, target), by="root", at=NOW)
    await api.house.follower.reached(done.position)


@pytest.mark.parametrize(("text", "path"), FORGETTING)
async def test_a_text_that_is_forgotten_changes_every_tag(api: Running, text: str, path: str) -> None:
    before = await get(api, path)
    await forgotten(api, text)

    after = await again(api, before)

    assert (text in before.text, text in after.text) == (True, False)
    assert (after.status_code, (await again(api, after)).status_code) == (200, 304)


@pytest.mark.parametrize(("text", "path"), FORGETTING)
async def test_so_it_does_over_a_restart_of_the_service(night: Path, text: str, path: str) -> None:
    async with running(night) as api:
        before = await get(api, path)
        await forgotten(api, text)
    async with running(night) as api:
        after = await again(api, before)

    assert (after.status_code, text in after.text) == (200, False)


# -------------------------------------------------------------------------------------------- what came in between


async def test_an_answer_has_no_tag_of_what_was_folded_while_it_was_made(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(*told: Any, **more: Any) -> Any:
        found = await status(*told, **more)
        with trio.CancelScope(shield=True):
            await rename(api, OLD, "old-5")
        return found

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr("es_power.api.routes_vms.status", slow)
        before = await get(api, "/v1/vms")

    after = body(await again(api, before))

    assert "old-4" in before.text
    assert "old-5" in {row["name"] for row in after["items"]}
