"""The host that a stream belongs to, whoever writes it."""

from uuid import UUID

import pytest

from es_power.domain import streams

OBSERVER = streams.observer("kvm/07", "qemu")


@pytest.mark.parametrize(
    ("stream", "host"),
    [
        (OBSERVER, "kvm/07"),
        (streams.planner(OBSERVER), "kvm/07"),
        (streams.records(OBSERVER), "kvm/07"),
        (streams.actor(OBSERVER), "kvm/07"),
        (streams.qemu_log(OBSERVER), "kvm/07"),
        (streams.imported("nova-log", "cmp-1"), "cmp-1"),
        (streams.imported("jsonl", ""), None),
        (streams.DECLARATIONS, None),
        (streams.command(UUID(int=1)), None),
    ],
)
def test_the_host_of_a_stream(stream: str, host: str | None) -> None:
    assert streams.host_of(stream) == host
