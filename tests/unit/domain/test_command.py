"""A stop command, folded from the records of its stream."""

from uuid import UUID

from es_power.domain.command import CommandState, begin, evolve
from es_power.domain.decisions import Confirmed, Withdrawn
from es_power.domain.events import Position
from es_power.domain.streams import command
from es_power.testing.facts import Facts, stop_requested, vm


def test_a_step_that_may_not_come_next_moves_nothing_but_the_place_of_the_last_record() -> None:
    facts, id_ = Facts(), UUID(int=9)
    common = {"observed_at": facts.now, "instance": vm(1), "command": id_}
    requested = stop_requested(vm(1), id_, observed_at=facts.now)
    planned = begin(facts.record(command(id_), requested))
    confirmed = evolve(planned, facts.record(command(id_), Confirmed(**common, because=Position(1))))
    withdrawn = evolve(
        confirmed, facts.record(command(id_), Withdrawn(**common, because=Position(1), reason="It is off."))
    )

    assert (confirmed.state, confirmed.reason, confirmed.version) == (CommandState.PLANNED, "It should be stopped.", 2)
    assert confirmed.last_position == planned.last_position + 1
    assert (withdrawn.state, withdrawn.reason, withdrawn.version) == (CommandState.WITHDRAWN, "It is off.", 3)
