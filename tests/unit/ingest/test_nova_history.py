"""Which stops of Nova's history count: those that began since the log has facts of the instance."""

from datetime import UTC, datetime

import pytest

from es_power.domain.events import InstanceId, NovaStopObserved
from es_power.domain.time import SECOND, Timestamp, timestamp
from es_power.ingest.nova_history import NovaStops
from es_power.nova import InstanceAction
from es_power.testing.facts import vm

WEB: InstanceId = vm(1)
BEGUN = timestamp(datetime(2026, 3, 1, 14, 0, 12, tzinfo=UTC))


@pytest.mark.parametrize(("first_fact", "counts"), [(-SECOND, True), (SECOND // 2, True), (SECOND, False)])
def test_a_stop_in_the_second_of_the_first_fact_counts(first_fact: int, counts: bool) -> None:
    """Nova's times are whole seconds, so the one that is told may lie before the fact, and the stop after it."""
    action = InstanceAction(
        action="stop",
        request_id="req-1",
        user_id="u",
        project_id="p",
        start_time="2026-03-01T14:00:12.000000",
        message=None,
    )
    since = Timestamp(BEGUN + first_fact)

    found = NovaStops(host="a", acts=lambda _: False).facts(WEB, [action], since=since, now=since)

    assert [type(each) for each in found] == [NovaStopObserved] * counts
