"""The decision tables from the command line."""

import io
import itertools
import json
import sys
from types import SimpleNamespace

import pytest

from es_power.domain.policy import POLICIES
from tests.unit.cli.conftest import Answer, Ask

QUESTION = {
    "vm_state": "active",
    "task_state": None,
    "db_power_state": "RUNNING",
    "driver_power_state": "SHUTDOWN",
    "host_matches": True,
}


def decide(ask: Ask, monkeypatch: pytest.MonkeyPatch, *lines: object, policy: str = "nova-2013") -> Answer:
    text = "".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(text.encode())))
    return ask("policy", "decide", "--policy", policy)


def answers(answer: Answer) -> list[dict]:
    return [json.loads(line) for line in answer.out.splitlines()]


def test_the_policies_are_listed(ask: Ask) -> None:
    assert [row["name"] for row in ask("policy", "list", "-o", "json").rows] == list(POLICIES)


def test_a_policy_is_shown_as_its_table(ask: Ask) -> None:
    rows = ask("policy", "table", "nova-2026", "-o", "json").rows

    assert next(row for row in rows if row["vm_state"] == "stopped")["RUNNING"] == "force_stop (f)"
    assert ask("policy", "table", "follow").out.splitlines()[0].split()[:3] == ["VM", "STATE", "NOSTATE"]


def test_each_line_is_answered_by_one_in_the_same_order(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = decide(
        *(ask, monkeypatch, QUESTION),
        QUESTION | {"driver_power_state": "RUNNING"},
        QUESTION | {"driver_power_state": "NOTFOUND"},
        QUESTION | {"driver_power_state": "ERROR"},
        QUESTION | {"host_matches": False},
        QUESTION | {"task_state": "powering-off"},
        QUESTION | {"vm_state": None},
    )

    assert answer.code == 0
    assert [(each["power_state"], each["command"]) for each in answers(answer)] == [
        ("SHUTDOWN", "stop"),
        (None, None),
        ("NOSTATE", None),
        (None, None),
        (None, None),
        (None, None),
        ("SHUTDOWN", None),
    ]
    assert all(each["reason"] for each in answers(answer))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "nonsense",
        "[]",
        "[" * 100_000,
        '{"vm_state": "active"}',
        QUESTION | {"vm_state": "actve"},
        QUESTION | {"driver_power_state": "OFF"},
        QUESTION | {"host_matches": 1},
        QUESTION | {"taskstate": None},
        QUESTION | {"task_state": ""},
        QUESTION | {"task_state": " "},
        "\x00\xff",
    ],
    ids=itertools.count(),
)
def test_a_line_that_cannot_be_read_is_answered_in_its_place(
    ask: Ask, monkeypatch: pytest.MonkeyPatch, line: object
) -> None:
    answer = decide(ask, monkeypatch, QUESTION, line, QUESTION)
    first, wrong, last = answers(answer)

    assert answer.code == 1
    assert list(wrong) == ["error"]
    assert first == last


def test_a_policy_has_to_be_named(ask: Ask) -> None:
    assert ask("policy", "decide").code == 2
