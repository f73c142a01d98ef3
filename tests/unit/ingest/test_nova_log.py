"""nova-compute's log, read: lines as real ones are, and whatever else a file may hold."""

from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, strategies as st

from es_power.domain.events import InstanceId
from es_power.domain.states import Transition
from es_power.domain.time import SECOND, rfc3339
from es_power.ingest.nova_log import Counted, Handled, NovaLine, NovaLogParser, Requested, Skipped

VM = InstanceId(UUID("b9000564-fe1a-409b-b8cc-1e88b294cd1d"))
BERLIN = ZoneInfo("Europe/Berlin")
_ME = "2026-11-22 03:12:22.412 1234 INFO nova.compute.manager"


def line(message: str, *, context: str = "-", head: str = _ME, instance: str = f"[instance: {VM}] ") -> bytes:
    return f"{head} [{context}] {instance}{message}\n".encode()


def read(data: bytes, zone: ZoneInfo = BERLIN) -> tuple[list[NovaLine], int]:
    parser = NovaLogParser(zone)
    return [*parser.feed(data), *parser.finish()], parser.unparsed


def test_a_stop_happened_fifteen_seconds_before_its_line_and_both_times_are_kept() -> None:
    [[stopped], unparsed] = read(line("VM Stopped (Lifecycle Event)"))

    assert isinstance(stopped, Handled)
    assert (stopped.instance, stopped.transition) == (VM, Transition.STOPPED)
    assert rfc3339(stopped.at) == "2026-11-22T02:12:22.412000000Z"
    assert stopped.at - stopped.happened == 15 * SECOND
    assert unparsed == 0


@pytest.mark.parametrize("word", ["Started", "Paused", "Resumed", "Suspended"])
def test_all_else_happened_when_it_says(word: str) -> None:
    [[handled], _] = read(line(f"VM {word} (Lifecycle Event)", context="req-1 - - - - -"))

    assert isinstance(handled, Handled)
    assert (handled.transition, handled.happened) == (Transition(word.upper()), handled.at)


@pytest.mark.parametrize("word", ["Postcopy started", "Migration completed"])
def test_what_says_nothing_about_power_is_passed_over(word: str) -> None:
    assert read(line(f"VM {word} (Lifecycle Event)")) == ([], 0)


def test_a_pending_task_and_a_count() -> None:
    facts, unparsed = read(
        line("During sync_power_state the instance has a pending task (spawning). Skip.")
        + line(
            "While synchronizing instance power states, found 3 instances in the database and 2 instances on the "
            "hypervisor.",
            instance="",
        )
    )

    [skipped, counted] = facts
    assert isinstance(skipped, Skipped)
    assert skipped.task_state == "spawning"
    assert isinstance(counted, Counted)
    assert (counted.records, counted.found, unparsed) == (3, 2, 0)


@pytest.mark.parametrize(
    ("context", "request_id", "user", "project"),
    [
        ("req-5e ann lab - - -", "req-5e", "ann", "lab"),
        ("None req-5e ann lab - - default default", "req-5e", "ann", "lab"),
        ("req-00 req-5e ann lab - - default default", "req-5e", "ann", "lab"),
        ("req-5e - - - - -", "req-5e", None, None),
        ("req-5e", "req-5e", None, None),
    ],
)
def test_who_requested_it(context: str, request_id: str, user: str | None, project: str | None) -> None:
    [[requested], _] = read(line("Terminating instance", context=context))

    assert isinstance(requested, Requested)
    assert (requested.request_id, requested.user, requested.project) == (request_id, user, project)
    assert requested.action == "Terminating instance"


@pytest.mark.parametrize("message", ["Terminating instance", "Rebooting instance after nova-compute restart."])
def test_what_nova_does_by_itself_is_no_request(message: str) -> None:
    assert read(line(message)) == ([], 0)


def test_a_line_may_begin_with_the_name_of_its_file() -> None:
    """As in the OpenStack set of LogHub."""
    prefixed = line("VM Stopped (Lifecycle Event)", head=f"nova-compute.log.1.2017-05-16_13:55:31 {_ME}")

    assert len(read(prefixed)[0]) == 1


def test_times_that_were_there_twice_are_the_first_and_counted() -> None:
    parser = NovaLogParser(BERLIN)
    head = "2026-10-25 02:30:00.000 1234 INFO nova.compute.manager"
    [first] = parser.feed(line("VM Started (Lifecycle Event)", head=head))
    parser.feed(line("VM Started (Lifecycle Event)"))

    assert rfc3339(first.at) == "2026-10-25T00:30:00.000000000Z"
    assert parser.ambiguous == 1


@pytest.mark.parametrize(
    "broken",
    [
        line("VM Stopped (Lifecycle Event)", instance=""),
        line("VM Stopped (Lifecycle Event)", instance="[instance: 0-0-0-0-00000000000000000000000000000] "),
        line("VM Stopped (Lifecycle Event) and more"),
        line("VM Stopped (Lifecycle Event)", head="2026-13-22 03:12:22.412 1 INFO nova"),
        line("During sync_power_state the instance has a pending task (<b>). Skip."),
        b"VM Stopped (Lifecycle Event)\n",
        b"\0\n",
        b"\xff VM Stopped (Lifecycle Event)\n",
    ],
)
def test_a_line_that_cannot_be_read_is_counted_by_its_number(broken: bytes) -> None:
    parser = NovaLogParser(BERLIN)

    assert list(parser.feed(b"passed over\n" + broken)) == []
    assert (parser.unparsed, parser.first_unparsed) == (1, 2)


def test_half_a_last_line_tells_nothing() -> None:
    whole = line("VM Stopped (Lifecycle Event)")[:-1]

    assert len(read(whole)[0]) == 1
    assert not any(read(whole[:cut])[0] for cut in range(len(whole)))


LINES = [
    line("VM Stopped (Lifecycle Event)"),
    line("Terminating instance", context="req-1 ann lab - - -"),
    line("During sync_power_state the instance has a pending task (spawning). Skip."),
    b"\0\n",
    b"\xff(Lifecycle Event)\r\n",
]


@given(st.lists(st.sampled_from(LINES) | st.binary(max_size=40), max_size=20).map(b"".join), st.integers(1, 99))
def test_pieces_of_any_size_tell_the_same_and_no_bytes_raise(data: bytes, step: int) -> None:
    parser = NovaLogParser(BERLIN)
    facts = [fact for start in range(0, len(data), step) for fact in parser.feed(data[start : start + step])]

    assert ([*facts, *parser.finish()], parser.unparsed) == read(data)
