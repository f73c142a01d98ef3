"""The program as a process: demo, run, its end by any means, and two of it."""

import json
import re
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trio

from tests import postgres
from tests.acceptance.documents import CHECKOUT, blocks
from tests.acceptance.program import Done, Machine

RUN = ("run", "--uri", "test:///default", "--log", "log.db")


@pytest.fixture
def es_power(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def rows(done: Done) -> list[dict[str, object]]:
    assert (done.code, done.complaints) == (0, [])
    found: list[dict[str, object]] = json.loads(done.out)
    return found


# -------------------------------------------------------------------------------------------------------- demo


def test_the_demo_tells_its_story_and_ends_with_lines_that_paste_as_they_are(es_power: Machine) -> None:
    demo = es_power("demo", "--duration", "4", "--vms", "8", "--log", es_power.home / "a log.db")

    story, _, lines = demo.out.partition("Ask the log:\n")
    status, history, why, gaps, commands, replay = (es_power.shell(line) for line in lines.splitlines())

    assert (demo.code, demo.complaints) == (0, [])
    _is_like_the_quickstart(story)
    assert re.search(r"\n\d+ events, \d+ observations \(\d+ sweeps\), 1 gaps, \d+ commands planned, ", story)
    assert re.search(r"\nreplayed  [0-9a-f]{64}  the same\n", story)
    assert [each.code for each in (status, history, why, gaps, commands, replay)] == [0] * 6
    assert re.match(r"(demo-\d|test): ", why.out)
    assert {"demo-1", "demo-8", "test"} <= {line.split()[0] for line in status.out.splitlines()}
    assert "event STARTED (BOOTED)" in history.out
    assert "connection lost" in gaps.out
    assert "nova-2013" in commands.out
    assert re.search(r"verified +yes", replay.out)


def test_what_the_demo_tells_is_in_its_log(es_power: Machine) -> None:
    demo = es_power("demo", "--duration", "2", "--vms", "8", "--log", "log.db")
    late = re.search(r"the old answer arrives, and is refused: (demo-\d)", demo.out)
    unseen = re.search(r"unseen, (.*) stop\n", demo.out)
    edited = re.search(r"the copy, its byte \d+: #(\d+) is edited\n", demo.out)
    assert late, demo.out
    assert unseen, demo.out
    assert edited, demo.out
    asked = ("--log", "log.db", "-o", "json")
    lines = {row["position"]: row for row in rows(es_power("history", late[1], *asked))}
    hidden = [row["name"] for row in rows(es_power("anomalies", *asked)) if row["kind"] == "unseen change"]
    [verdict] = json.loads(es_power("audit", "verify", *asked).out)

    # What was turned over in the copy is the answer that was refused, and the log itself has it as it was.
    assert (lines[int(edited[1])]["stale"], lines[int(edited[1])]["state"]) == (True, "SHUTOFF")
    assert set(unseen[1].split(", ")) <= set(hidden)
    assert verdict["intact"] is True


async def test_a_demo_that_is_kept_can_be_played_with_until_ctrl_c(es_power: Machine) -> None:
    async with es_power.running("demo", "--duration", "1", "--vms", "5", "--keep", "--log", "log.db") as demo:
        await demo.says("it goes on until Ctrl-C")
        link = es_power("ui", "--log", "log.db").out.strip()
        async with httpx.AsyncClient(follow_redirects=False) as browser:
            assert (await browser.get(link)).status_code == 303
            address = httpx.URL(link)
            known = (await browser.get(address.copy_with(path="/v1/vms", query=None))).json()
        done = await demo.end(signal.SIGINT)

    assert len(known["items"]) == 6
    assert done.code == 0
    assert "  the same\n" in done.out


def _shape(line: str) -> str:
    """What is alike in all demos."""
    return re.sub(r" +", " ", re.sub(r"[█·]+", "█", re.sub(r"\b[0-9a-f]{16}\b|\d+", "N", line)))


def _is_like_the_quickstart(story: str) -> None:
    """What the page shows of the demo has the shape of what it prints: the same words and columns, other numbers."""
    told = [_shape(line) for line in story.splitlines()]
    shown = next(block.text for block in blocks(CHECKOUT / "docs/quickstart.md") if block.kind == "text")
    facts = ("event ", "observation ", "sweep ", "gap opened", "gap closed", "PLANNED ")
    for line in shown.splitlines():
        shape = _shape(line)
        fact = next((each for each in facts if re.match(rf"N:N:N +#N +{each}", shape)), None)
        if fact is None:
            assert shape in told
        else:
            assert any(re.match(rf"N:N:N +#N +{fact}", each) for each in told), fact


async def test_ctrl_c_ends_the_demo_with_its_summary(es_power: Machine) -> None:
    async with es_power.running("demo", "--duration", "60", "--log", "log.db") as demo:
        await demo.says("chaos:")
        done = await demo.end(signal.SIGINT)

    assert done.code == 0
    assert "  the same\n" in done.out
    assert "Ask the log:" in done.out


# --------------------------------------------------------------------------------------------------------- run


async def test_a_service_that_is_told_to_end_leaves_a_log_that_says_so(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        [while_up] = rows(es_power("status", "--log", "log.db", "-o", "json"))
        done = await service.end(signal.SIGTERM)
    [after] = rows(es_power("status", "--log", "log.db", "-o", "json"))
    history = rows(es_power("history", "test", "--log", "log.db", "-o", "json"))

    assert done.code == 0
    assert done.out == ""
    assert [json.loads(line)["event"] for line in done.complaints] == ["observing", "stopping"]
    assert (while_up["name"], while_up["power_state"], while_up["policy"]) == ("test", "RUNNING", "follow")
    assert while_up["position"] == after["position"]
    assert history[-1]["kind"] == "ServiceStopped"


@pytest.mark.parametrize("program", ["run", "act", "demo"])
async def test_ctrl_c_ends_what_runs_for_long_in_good_order_as_the_page_of_exit_codes_says(
    es_power: Machine, program: str
) -> None:
    page = (CHECKOUT / "docs/reference/exit-codes.md").read_text()
    [told] = re.findall(r"^\| 0 \| .* \|  \|$", page, re.MULTILINE)
    log = es_power.home / "log.db"
    host = ("--uri", "test:///default", "--log", log)
    arguments, ready = {
        "run": (host, '"observing"'),
        "act": (host, '"acting"'),
        "demo": (("--keep", "--vms", "5", "--duration", "9", "--log", log), "0:00"),
    }[program]
    if program == "act":
        assert es_power("log", "upgrade", "--log", log).code == 0
    async with es_power.running(program, *arguments) as service:
        await service.says(ready)
        done = await service.end(signal.SIGINT)

    assert done.code == 0
    assert f"`{program}`" in told


async def test_a_signal_in_the_middle_of_the_start_is_heard_too(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        with trio.fail_after(20):
            while not (es_power.home / "log.db").exists():
                await trio.sleep(0.005)
        done = await service.end(signal.SIGTERM)

    assert done.code == 0
    assert '"stopping"' in done.complaints[-1]


async def test_after_kill_9_it_starts_at_once_and_says_what_nobody_saw(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        killed = await service.end(signal.SIGKILL)
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        [gap] = rows(es_power("gaps", "--log", "log.db", "-o", "json"))
        again = await service.end(signal.SIGTERM)
    verified = es_power("replay", "--verify", "--log", "log.db")

    assert killed.code == -signal.SIGKILL
    assert gap["reason"] == "crash"
    assert gap["until"] is not None
    assert (again.code, verified.code) == (0, 0)


async def test_a_restart_in_good_order_is_a_gap_too(es_power: Machine) -> None:
    for _ in range(2):
        async with es_power.running(*RUN) as service:
            await service.says('"observing"')
            await service.end(signal.SIGTERM)

    [gap] = rows(es_power("gaps", "--log", "log.db", "-o", "json"))

    assert gap["reason"] == "restart"


async def test_a_second_service_is_refused_with_the_name_of_the_first(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        second = es_power(*RUN)
        first = await service.end(signal.SIGTERM)

    assert second.code == 1
    assert len(second.complaints) == 1
    assert f"process {service.pid}" in second.complaints[0]
    assert first.code == 0


async def test_a_paused_service_still_holds_its_log_and_goes_on(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        # Paused while it commits it would hold SQLite's lock, and the second one would only wait for that.
        while not _is_idle(es_power.home / "log.db"):
            await trio.sleep(0.02)
        service.process.send_signal(signal.SIGSTOP)
        second = es_power(*RUN)
        answer = es_power("status", "--log", "log.db")
        service.process.send_signal(signal.SIGCONT)
        first = await service.end(signal.SIGTERM)

    assert (second.code, answer.code, first.code) == (1, 0, 0)
    assert f"process {service.pid}" in second.complaints[0]


def _is_idle(log: Path) -> bool:
    """Whether the tables hold everything that is in the log."""
    with closing(sqlite3.connect(log)) as database:
        [(head, tables)] = database.execute("SELECT position, (SELECT position FROM projections) FROM head")
    return bool(head == tables)


async def test_a_person_s_word_reaches_a_service_that_runs(es_power: Machine) -> None:
    async with es_power.running(*RUN) as service:
        await service.says('"observing"')
        declared = es_power("declare", "test", "--vm-state", "stopped", "--why", "retired", "--log", "log.db")
        await service.says('"stop planned"')
        [command] = rows(es_power("commands", "list", "--log", "log.db", "-o", "json"))
        es_power("declare", "test", "--clear", "--why", "needed again", "--log", "log.db")
        await service.says('"stop withdrawn"')
        await service.end(signal.SIGTERM)
    [ended] = rows(es_power("commands", "list", "--log", "log.db", "-o", "json"))

    assert declared.code == 0
    assert (
        command["rule"],
        command["command"],
        command["state"],
        ended["state"],
    ) == ("f", "stop", "Planned", "Withdrawn")


# ------------------------------------------------------------------------------------------------------ doctor


def test_doctor_finds_a_driver_that_answers_and_a_log_that_can_be_made(es_power: Machine) -> None:
    done = es_power("doctor", "--uri", "test:///default", "--log", "log.db", "-o", "json")
    results = {row["check"]: row["result"] for row in json.loads(done.out)}

    assert done.code in {0, 4}  # the clock of a machine in a build is its own
    assert (
        results["libvirt test:///default"],
        results["events test:///default"],
        results["log"],
    ) == ("ok", "ok", "ok")
    assert not (es_power.home / "log.db").exists()


def test_doctor_says_which_libvirt_cannot_be_reached(es_power: Machine) -> None:
    done = es_power("doctor", "--uri", "qemu+unix:///system?socket=/no/such/socket", "--log", "log.db", "-o", "json")
    [libvirt, *_] = json.loads(done.out)

    assert done.code == 5
    assert libvirt["result"] == "failed"
    assert "/no/such/socket" in libvirt["found"]
    assert libvirt["mend"]


def test_doctor_finds_a_log_that_can_only_be_read(es_power: Machine, the_log: Path) -> None:
    place = es_power.home / "log.db"
    shutil.copy(the_log, place)
    place.chmod(0o444)

    done = es_power("doctor", "--uri", "test:///default", "--log", place, "-o", "json", weak=True)
    [log] = [row for row in json.loads(done.out) if row["check"] == "log"]

    assert done.code == 4
    assert (log["result"], f"{place} can only be read") == ("failed", log["found"])


@pytest.mark.postgres
def test_the_page_about_postgresql_says_what_happens(es_power: Machine) -> None:
    if why := postgres.missing():
        pytest.skip(why)
    with postgres.cluster() as cluster:
        url = cluster.url()
        schema = url.rpartition("%3D")[2]
        empty = es_power("doctor", "--uri", "test:///default", "--log", url)
        demo = es_power("demo", "--duration", "1", "--vms", "2", "--log", url)
        cluster.run(f"CREATE ROLE reader LOGIN; GRANT USAGE ON SCHEMA {schema} TO reader")
        cluster.run(f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO reader")
        reader = url.replace("postgres@", "reader@")
        asked, verified = es_power("status", "--log", reader), es_power("replay", "--verify", "--log", reader)
        told = es_power("declare", "demo-1", "--clear", "--why", "x", "--log", reader)
        as_reader = es_power("doctor", "--uri", "test:///default", "--log", reader)

    assert "is empty; `es-power run` will create the log in it" in empty.out
    assert [each.code for each in (demo, asked, verified, told)] == [0, 0, 0, 5]
    assert "lacks a privilege" in told.complaints[0]
    assert "lacks a privilege" in as_reader.out
