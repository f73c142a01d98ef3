"""The command line, the library and HTTP give the same answer: the same rows, whichever way one asks."""

import io
import json
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import trio

import es_power
from es_power.answers.commands import COMMANDS, LIFE, command_row, life_row
from es_power.answers.rows import GAPS, HISTORY, QUARANTINE, STATUS, doubt_row, gap_row, line_row, status_row
from es_power.answers.spans import (
    ANOMALIES,
    MARKS,
    SEGMENTS,
    UPTIMES,
    anomaly_row,
    mark_row,
    segment_row,
    uptime_row,
)
from es_power.answers.why import WHY, why_row
from es_power.audit.keys import Signer, write_key
from es_power.audit.sealing import Sealer
from es_power.cli import main
from es_power.domain.time import Timestamp
from es_power.ingest import clock
from es_power.output import plain
from es_power.projections.as_of import moment_at
from es_power.projections.queries import View
from tests.acceptance.night import NOW, WEB, clock as night_clock, write_night
from tests.api.house import running

Library = Callable[[View], Awaitable[list[Any]]]
SINCE, UNTIL = night_clock("00:00:00"), night_clock("03:00:00")


async def _status(view: View) -> list[Any]:
    return [plain(status_row(each), STATUS) for each in await es_power.status(view, now=NOW)]


async def _one(view: View) -> list[Any]:
    return [plain(status_row(each), STATUS) for each in await es_power.status(view, "web-1", now=NOW)]


async def _history(view: View) -> list[Any]:
    return [plain(line_row(each, WEB), HISTORY) for each in await es_power.history(view, "web-1")]


async def _quarantine(view: View) -> list[Any]:
    return [plain(doubt_row(each), QUARANTINE) for each in await es_power.quarantine(view)]


async def _gaps(view: View) -> list[Any]:
    return [plain(gap_row(each), GAPS) for each in await es_power.gaps(view)]


async def _commands(view: View) -> list[Any]:
    return [plain(command_row(each), COMMANDS) for each in await es_power.commands(view)]


async def _why(view: View) -> list[Any]:
    return [plain(why_row(await es_power.why(view, "web-1")), WHY)]


async def _timeline(view: View) -> list[Any]:
    found = await es_power.timeline(view, since=SINCE, until=UNTIL, now=NOW)
    return [plain(segment_row(each, segment), SEGMENTS) for each in found for segment in each.segments]


async def _last_report(view: View) -> list[Any]:
    found = await es_power.timeline(view, since=SINCE, until=UNTIL, now=NOW, last_report_wins=True)
    return [plain(segment_row(each, segment), SEGMENTS) for each in found for segment in each.segments]


async def _uptime(view: View) -> list[Any]:
    found = await es_power.uptime(view, since=SINCE, until=UNTIL, now=NOW)
    return [plain(uptime_row(each), UPTIMES) for each in found]


async def _anomalies(view: View) -> list[Any]:
    found = await es_power.anomalies(view, since=SINCE, until=NOW, now=NOW)
    return [plain(anomaly_row(each), ANOMALIES) for each in found]


SPAN = "since=2026-11-22T00:00:00Z&until=2026-11-22T03:00:00Z"
ASKED: dict[str, tuple[str, Library, str]] = {
    "status": ("status", _status, "/v1/vms"),
    "status of one": ("status web-1", _one, "/v1/vms/web-1"),
    "history": ("history web-1", _history, "/v1/vms/web-1/history"),
    "gaps": ("gaps", _gaps, "/v1/gaps"),
    "quarantine": ("quarantine", _quarantine, "/v1/quarantine"),
    "commands": ("commands list", _commands, "/v1/commands"),
    "why": ("why web-1", _why, "/v1/vms/web-1/why"),
    "timeline": ("timeline -S 2026-11-22T00:00:00Z -U 2026-11-22T03:00:00Z", _timeline, f"/v1/timeline?{SPAN}"),
    "timeline as the last report has it": (
        "timeline -S 2026-11-22T00:00:00Z -U 2026-11-22T03:00:00Z --last-report-wins",
        _last_report,
        f"/v1/timeline?{SPAN}&last_report_wins=true",
    ),
    "anomalies": ("anomalies -S 2026-11-22T00:00:00Z", _anomalies, "/v1/anomalies?since=2026-11-22T00:00:00Z"),
    "uptime": ("uptime -S 2026-11-22T00:00:00Z -U 2026-11-22T03:00:00Z", _uptime, f"/v1/uptime?{SPAN}"),
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("night") / "log.db"
    trio.run(write_night, place)
    return place


@pytest.fixture(autouse=True)
def the_time() -> Iterator[None]:
    with mock.patch.object(clock.time, "time_ns", return_value=int(NOW)):
        yield


def command_line(log: Path, words: str, *, status: int = 0) -> Any:
    printed = io.StringIO()
    with redirect_stdout(printed), mock.patch.dict("os.environ", {"ES_POWER_LOG": str(log)}):
        assert main([*words.split(), "-o", "json"]) == status
    return json.loads(printed.getvalue())


async def over_http(log: Path, path: str, folder: Path) -> Any:
    own = Path(shutil.copy(log, folder / "log.db"))
    async with running(own) as api, api.client() as client:
        answer = await client.get(path)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        return body.get("items", [body])


async def by_library(log: Path, question: Library) -> list[Any]:
    async with es_power.open_log(log) as opened:
        return await question(await es_power.look(opened))


@pytest.mark.parametrize("name", ASKED)
def test_every_way_of_asking_gives_the_same_answer(told: Path, tmp_path: Path, name: str) -> None:
    words, question, path = ASKED[name]

    printed = command_line(told, words)
    answered = trio.run(over_http, told, path, tmp_path)
    returned = trio.run(by_library, told, question)

    # Nothing was out of the ordinary that night.
    assert printed or name in {"anomalies", "quarantine"}
    assert printed == answered == json.loads(json.dumps(returned))


def test_marks_are_the_same_by_the_library_and_over_http(told: Path, tmp_path: Path) -> None:
    async def by_hand(view: View) -> list[Any]:
        found = await es_power.marks(view, since=SINCE, until=UNTIL, now=NOW)
        return [plain(mark_row(each), MARKS) for each in found]

    answered = trio.run(over_http, told, f"/v1/marks?{SPAN}", tmp_path)

    assert answered
    assert answered == json.loads(json.dumps(trio.run(by_library, told, by_hand)))


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("--policy nova-2013 --against nova-2026", {"policy": "nova-2013", "against": "nova-2026"}),
        ("--against follow", {"against": "follow"}),
        ("--against nova --since 2026-11-22T03:00:00Z", {"against": "nova", "since": "2026-11-22T03:00:00Z"}),
        ("--policy follow --against nova-2013 --until 70", {"policy": "follow", "against": "nova-2013", "until": "70"}),
    ],
)
def test_two_policies_differ_alike_by_the_command_line_and_over_http(
    told: Path, tmp_path: Path, words: str, asked: dict[str, str]
) -> None:
    own = Path(shutil.copy(told, tmp_path / "log.db"))

    async def over() -> Any:
        async with running(own) as api, api.client() as client:
            return (await client.post("/v1/replays", json=asked)).json()

    printed = command_line(told, f"replay {words}", status=4)

    assert printed
    assert printed == trio.run(over)["differences"]


def test_the_policies_are_the_same_by_the_command_line_and_over_http(told: Path, tmp_path: Path) -> None:
    answered = trio.run(over_http, told, "/v1/policies", tmp_path)

    assert command_line(told, "policy list") == [
        {name: value for name, value in each.items() if name != "table"} for each in answered
    ]
    for each in answered:
        assert command_line(told, f"policy table {each['name']}") == each["table"]


def test_a_command_is_shown_alike_with_its_life(told: Path, tmp_path: Path) -> None:
    [first, *_] = command_line(told, "commands list")

    async def by_hand() -> list[Any]:
        async with es_power.open_log(told) as opened:
            found = await es_power.command(await es_power.look(opened), first["id"])
            steps = [plain(life_row(step), LIFE + COMMANDS) for step in found.life]
            return [{**plain(command_row(found), COMMANDS), "life": steps}]

    answered = trio.run(over_http, told, f"/v1/commands/{first['id']}", tmp_path)

    assert answered == json.loads(json.dumps(trio.run(by_hand)))


def test_a_proof_and_a_verdict_are_the_same_by_the_command_line_and_over_http(told: Path, tmp_path: Path) -> None:
    sealed = Path(shutil.copy(told, tmp_path / "sealed.db"))

    async def seal() -> None:
        async with es_power.open_log(sealed, mode="write") as opened:
            await Sealer(opened, Signer.generate("kvm-07/es-power"), [], clock=lambda: NOW).seal()

    trio.run(seal)

    for words, path in (("audit proof 7", "/v1/audit/proof/7"), ("audit verify", "/v1/audit/verify")):
        assert command_line(sealed, words) == trio.run(over_http, sealed, path, tmp_path), words


def test_a_checkpoint_is_signed_alike_by_the_command_line_and_over_http(told: Path, tmp_path: Path) -> None:
    signer, logs = Signer.generate("kvm-07/es-power"), [tmp_path / "one.db", tmp_path / "log.db"]
    (tmp_path / "keys").mkdir()
    write_key(tmp_path / "keys" / "audit.key", signer, log=None)
    config = tmp_path / "config.toml"
    config.write_text(f'[audit]\nkey = "{tmp_path}/keys/audit.key"\n')
    for each in logs:
        shutil.copy(told, each)

    async def over() -> Any:
        async with running(logs[1]) as api, api.client() as client:
            api.house.sealer = Sealer(api.house.log, signer, [], clock=lambda: NOW)
            return (await client.post("/v1/audit/checkpoint")).json()

    [printed] = command_line(logs[0], f"audit checkpoint --config {config}")

    # Of the same records: what is appended beside a checkpoint does not bear on it.
    assert {**printed, "position": 0} == {**trio.run(over), "position": 0}


@pytest.mark.parametrize(("what", "time"), [("status", "02:45:00"), ("commands", "02:45:00"), ("gaps", "01:31:00")])
def test_what_was_true_at_another_time_is_the_same_by_every_way(
    told: Path, tmp_path: Path, what: str, time: str
) -> None:
    words, library, path = ASKED[what]
    asked = f"2026-11-22T{time}Z"

    async def by_hand() -> list[Any]:
        async with es_power.open_log(told) as opened:
            then = await moment_at(opened, Timestamp(night_clock(time)))
            return await library(await es_power.look(opened, as_of=then))

    printed = command_line(told, f"{words} --as-of {asked}")
    answered = trio.run(over_http, told, f"{path}?as_of={asked}", tmp_path)

    assert printed == answered == json.loads(json.dumps(trio.run(by_hand)))
    assert printed != command_line(told, words), "it is not what is true now"
