"""What the routes answer: the same rows as the command line, at a position, by pages, and again only if it changed."""

from itertools import pairwise
from typing import Any

import httpx
import pytest

from es_power.domain.events import InstanceNamed
from es_power.domain.ports import Append, Write
from es_power.log.labels import make_label
from tests.acceptance.night import NOW, OLD, STREAM, WEB
from tests.api.house import Running


async def get(api: Running, path: str, **headers: str) -> httpx.Response:
    async with api.client() as client:
        return await client.get(path, headers=headers)


async def items(api: Running, path: str) -> list[dict[str, Any]]:
    answer = await get(api, path)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def follow_pages(api: Running, path: str) -> list[list[dict[str, Any]]]:
    """All pages, by their Link headers."""
    pages = []
    async with api.client() as client:
        while path:
            answer = await client.get(path)
            assert answer.status_code == 200, answer.text
            pages.append(answer.json()["items"])
            path = str(answer.links["next"]["url"]) if "next" in answer.links else ""
            assert answer.json()["next"] == (path or None)
    return pages


async def test_all_vms_are_listed_in_the_order_of_their_names(api: Running) -> None:
    answer = await get(api, "/v1/vms")

    assert [row["name"] for row in answer.json()["items"]] == ["ci-9", "old-4", "web-1"]
    assert (answer.headers["x-es-position"], answer.headers["etag"]) == ("80", '"80"')
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_vms_are_chosen_by_state_and_host(api: Running) -> None:
    assert [row["name"] for row in await items(api, "/v1/vms?state=SHUTDOWN")] == ["old-4", "web-1"]
    assert await items(api, "/v1/vms?state=SHUTDOWN&host=kvm-08") == []


async def test_vms_that_are_not_what_their_record_says_are_chosen(api: Running) -> None:
    assert [(row["name"], row["drift"]) for row in await items(api, "/v1/vms?drift=true")] == [("web-1", "stop (e)")]


@pytest.mark.parametrize("named", [str(WEB), "web-1", "kvm-07%2Fweb-1", "7f1c1c52"])
async def test_a_vm_is_found_by_all_that_name_it(api: Running, named: str) -> None:
    [row] = await items(api, f"/v1/vms/{named}")

    assert (row["instance"], row["power_state"]) == (str(WEB), "SHUTDOWN")


async def test_what_was_true_at_another_time_is_answered(api: Running) -> None:
    [then] = await items(api, "/v1/vms/old-4?as_of=2026-11-22T02:45:00Z")
    [by_position] = await items(api, "/v1/vms/old-4?as_of=68")
    [unknown_yet] = await items(api, "/v1/vms/old-4?as_of=2026-11-22T02:45:00Z&known_at=2026-11-22T02:40:00%2B00:00")

    assert [each["power_state"] for each in (then, by_position, unknown_yet)] == ["RUNNING", "RUNNING", "SHUTDOWN"]


async def test_pages_of_one_row_hold_what_one_page_holds(api: Running) -> None:
    for path in ("/v1/vms", "/v1/vms/web-1/history", "/v1/gaps", "/v1/commands", "/v1/hosts"):
        whole = await items(api, path)

        pages = await follow_pages(api, f"{path}?limit=1")

        assert [row for page in pages for row in page] == whole
        assert {len(page) for page in pages} == {1}


async def test_marks_are_read_page_by_page(api: Running) -> None:
    path = "/v1/marks?since=2026-11-22T00:00:00Z"
    whole = await items(api, path)

    pages = await follow_pages(api, f"{path}&limit=2")

    assert [row for page in pages for row in page] == whole
    assert {row["kind"] for row in whole} == {"event", "observation", "command"}
    assert {row["instance"] for row in await items(api, f"{path}&vm=old-4")} == {str(OLD)}


async def test_a_history_reads_backwards_by_pages_too(api: Running) -> None:
    whole = await items(api, "/v1/vms/old-4/history")

    pages = await follow_pages(api, "/v1/vms/old-4/history?limit=2&reverse=true")

    assert [row for page in pages for row in page] == list(reversed(whole))


async def test_a_history_is_cut_by_times_and_positions(api: Running) -> None:
    rows = await items(api, "/v1/vms/web-1/history?since=2026-11-22T03:12:00Z&until=78")

    assert [row["position"] for row in rows] == [76, 77, 78]


async def test_the_log_is_read_in_order_and_its_end_can_be_asked_again(api: Running) -> None:
    answer = await get(api, "/v1/events?limit=1000")
    positions = [row["position"] for row in answer.json()["items"]]
    [end] = [answer.links["next"]["url"]]

    assert positions == list(range(1, 81))
    assert (await get(api, end)).json() == {"items": [], "next": end}


async def test_a_command_is_shown_with_its_life(api: Running) -> None:
    [row, *_] = await items(api, "/v1/commands")

    answer = (await get(api, f"/v1/commands/{row['id'][:8]}")).json()

    assert {key: answer[key] for key in row} == row
    assert [step["step"] for step in answer["life"]] == ["StopRequested", "Withdrawn"]


# --------------------------------------------------------------------------------------------- what has not changed


LISTS = [
    "/v1/vms",
    "/v1/vms/web-1",
    "/v1/vms/web-1/history",
    "/v1/events",
    "/v1/hosts",
    "/v1/gaps",
    "/v1/quarantine",
    "/v1/commands",
    "/v1/audit/checkpoints",
]


async def test_what_the_client_has_is_not_sent_again(api: Running) -> None:
    for path in LISTS:
        first = await get(api, path)
        tag = first.headers["etag"]

        again = await get(api, path, **{"If-None-Match": f'"7", W/{tag}'})

        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)


async def rename(api: Running, instance: Any, name: str) -> int:
    """A fact about one VM; gives its position."""
    label, text = make_label(name)
    events = [InstanceNamed(observed_at=NOW, instance=instance, name=label)]
    version = await api.house.log.version(STREAM)
    append = Append(writes=[Write(stream=STREAM, expected=version, events=events)], labels=[text])
    position = await api.house.log.append(append)
    await api.house.follower.reached(position)
    return position


async def test_a_fact_about_one_vm_changes_the_tag_of_its_own_answer_alone(api: Running) -> None:
    before = await get(api, "/v1/vms/web-1")
    position = await rename(api, OLD, "old-5")

    other = await get(api, "/v1/vms/web-1", **{"If-None-Match": before.headers["etag"]})
    its_own = await get(api, f"/v1/vms/{OLD}", **{"If-None-Match": before.headers["etag"]})

    assert (other.status_code, other.headers["x-es-position"]) == (304, str(position))
    assert (its_own.status_code, its_own.headers["etag"]) == (200, f'"{position}"')


async def test_a_state_that_only_grew_old_has_another_tag(night: Any) -> None:
    from tests.api.house import running

    async with running(night) as fresh:
        young = await get(fresh, "/v1/vms/web-1")
    async with running(night, now=NOW + 3_600_000_000_000) as later:
        old = await get(later, "/v1/vms/web-1", **{"If-None-Match": young.headers["etag"]})

    assert (old.status_code, old.headers["etag"], old.json()["items"][0]["power_state"]) == (200, '"80-1"', "UNKNOWN")


async def test_what_was_just_written_is_read(api: Running) -> None:
    label, text = make_label("web-2")
    version = await api.house.log.version(STREAM)
    events = [InstanceNamed(observed_at=NOW, instance=WEB, name=label)]
    append = Append(writes=[Write(stream=STREAM, expected=version, events=events)], labels=[text])
    position = await api.house.log.append(append)

    [row] = await items(api, f"/v1/vms/{WEB}?min_position={position}")

    assert row["name"] == "web-2"


async def test_what_the_log_does_not_have_is_not_waited_for(api: Running) -> None:
    answer = await get(api, "/v1/vms?min_position=81")

    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/position-not-reached")
    assert answer.json()["position"] == 80


# -------------------------------------------------------------------------------------------------------- mistakes


MISTAKES = (
    ("/v1/vms/nobody", 404, "vm-not-found"),
    ("/v1/vms/00000000-0000-0000-0000-000000000000", 404, "vm-not-found"),
    ("/v1/commands/ffffffff", 404, "command-not-found"),
    ("/v1/nothing", 404, "not-found"),
    ("/nothing", 404, "not-found"),
    ("/v1/vms/", 404, "not-found"),
    ("/v1/vms?limit=0", 422, "invalid-request"),
    ("/v1/vms?limit=1001", 422, "invalid-request"),
    ("/v1/vms?limt=5", 422, "invalid-request"),
    ("/v1/vms?limit=5&limit=6", 422, "invalid-request"),
    ("/v1/vms?state=running", 422, "invalid-request"),
    ("/v1/vms?cursor=!", 404, "bad-cursor"),
    ("/v1/vms?cursor=WzFd", 404, "bad-cursor"),
    ("/v1/vms?as_of=2026-11-22T03:12:05", 422, "invalid-request"),
    ("/v1/vms?as_of=2026-02-30T03:12:05Z", 422, "invalid-request"),
    ("/v1/vms?as_of=yesterday", 422, "invalid-request"),
    ("/v1/vms?as_of=81", 409, "position-not-reached"),
    ("/v1/vms/web-1/history?since=70&until=60", 422, "invalid-request"),
    ("/v1/events?after=81", 409, "log-rewound"),
    ("/v1/events?after=9223372036854775808", 422, "invalid-request"),
    ("/v1/stream?after=81", 409, "log-rewound"),
    (f"/v1/vms/{'x' * 50_000}", 414, "uri-too-long"),
    ("/v1/vms/%00", 404, "vm-not-found"),
    ("/v1/vms/%ff%fe", 404, "vm-not-found"),
    ("/problems/none", 404, "problem-not-found"),
)


async def test_each_mistake_is_a_problem_of_its_own(api: Running) -> None:
    told = {}
    for path, status, _ in MISTAKES:
        answer = await get(api, path)
        problem = answer.json()
        told[path] = (answer.status_code, problem["type"].removeprefix("/problems/"))
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], problem["request_id"]) == (status, answer.headers["x-request-id"])
        assert (await get(api, problem["type"])).status_code == 200

    assert told == {path: (status, kind) for path, status, kind in MISTAKES}


async def test_a_method_that_a_path_has_not_is_told_those_that_it_has(api: Running) -> None:
    async with api.client() as client:
        answer = await client.delete("/v1/vms")

    assert (answer.status_code, answer.headers["allow"], answer.json()["type"]) == (
        405,
        "GET",
        "/problems/method-not-allowed",
    )


async def test_a_time_without_a_zone_is_told_what_one_looks_like(api: Running) -> None:
    [error] = (await get(api, "/v1/vms?as_of=2026-11-22T03:12:05")).json()["errors"]

    assert (error["in"], error["name"]) == ("query", "as_of")
    assert "with a zone, such as 2026-11-22T03:12:05Z" in error["problem"]


async def test_a_mistake_of_ours_is_a_problem_that_the_log_of_the_service_knows(
    api: Running, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("es_power.api.house.House.view_at_least", broken)

    answer = await get(api, "/v1/vms")

    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/internal-error")
    assert "ZeroDivision" not in answer.text
    assert answer.json()["request_id"] in "".join(capsys.readouterr())


async def test_tables_that_are_damaged_are_no_mistake_of_ours_and_are_told_how_to_mend(api: Running) -> None:
    with api.house.log.database.write() as connection:
        connection.exec_driver_sql("DROP TABLE snapshots")

    answer = await get(api, "/v1/timeline?since=2026-11-22T00:00:00Z")

    assert (answer.status_code, answer.json()["type"]) == (500, "/problems/tables-damaged")
    assert "es-power replay --rebuild" in answer.json()["detail"]


async def test_a_head_has_the_headers_and_no_body(api: Running) -> None:
    async with api.client() as client:
        answer = await client.head("/v1/vms")

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", '"80"')


# --------------------------------------------------------------------------------------------------- hostile names

HOSTILE = ["<script>alert(1)</script>", "=cmd|' /C calc'!A0", "\u202egnp.exe", "\x1b[2J", 'a"b\\c\n', "x" * 100_000]


async def test_a_hostile_name_is_text_of_json_and_nothing_else(api: Running) -> None:
    for name in HOSTILE:
        await rename(api, WEB, name)

        answer = await get(api, f"/v1/vms/{WEB}")
        [row] = answer.json()["items"]
        kinds = (answer.headers["content-type"], answer.headers["x-content-type-options"])

        assert row["name"] == (name if len(name) <= 255 else f"{name[:255]}…")
        assert kinds == ("application/json", "nosniff")
        assert answer.text.isprintable()


async def test_facts_that_follow_each_other_have_positions_that_do(api: Running) -> None:
    await rename(api, WEB, "a")
    await rename(api, WEB, "b")

    positions = [row["position"] for row in await items(api, "/v1/events?after=70")]

    assert all(after == before + 1 for before, after in pairwise(positions))


async def test_the_log_is_read_back_from_a_time(api: Running) -> None:
    whole = await items(api, "/v1/events?limit=1000")
    then = "2026-11-22T03:12:08Z"
    before = [row["position"] for row in whole if row["recorded_at"] <= then]

    answer = await get(api, f"/v1/events?until={then}&limit=5")

    assert [row["position"] for row in answer.json()["items"]] == before[-5:]
    assert [row["position"] for row in await items(api, f"/v1/events?until={before[-1]}&limit=2")] == before[-2:]
    assert await items(api, answer.json()["next"]) == whole[len(before) : len(before) + 5]
    assert await items(api, "/v1/events?until=2000-01-01T00:00:00Z") == []


async def test_a_timeline_is_of_those_that_are_looked_at(api: Running) -> None:
    stranger = "00000000-0000-0000-0000-000000000000"
    span = "since=2026-11-22T00:00:00Z"
    for path in ("/v1/timeline", "/v1/marks"):
        rows = await items(api, f"{path}?{span}")
        some = await items(api, f"{path}?{span}&vms={WEB},{stranger},{OLD}")

        assert some == [row for row in rows if row["instance"] in {str(WEB), str(OLD)}]
        assert {row["instance"] for row in some} == {str(WEB), str(OLD)}
        assert (await get(api, f"{path}?{span}&vms=web-1")).status_code == 422


async def test_how_busy_the_log_was_is_told_by_where_it_stood(api: Running) -> None:
    rows = await items(api, "/v1/events?limit=1000")
    since, until = "2026-11-22T02:00:00.000000000Z", "2026-11-22T03:20:00.000000000Z"

    stood = await items(api, f"/v1/growth?since={since}&until={until}&steps=8")

    assert [len(stood), stood[0]["at"], stood[-1]["at"]] == [9, since, until]
    for row in stood:
        assert row["position"] == max(
            (each["position"] for each in rows if each["recorded_at"] <= row["at"]), default=0
        )
