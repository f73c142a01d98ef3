"""What Prometheus is told: the read models as they are when it asks, and what was counted since the service began."""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest

from es_power.domain.events import GapClosed, LifecycleEvent, Recorded
from es_power.domain.states import UNKNOWN, PowerState
from es_power.domain.streams import observed_host
from es_power.domain.time import SECOND, Timestamp
from es_power.identity import package_version
from es_power.ingest.recording import Recording
from es_power.log.patience import DOINGS
from es_power.projections.queries import Status, View, hosts

AUTO: Final = 1000
"""VMs up to which each has metrics of its own, unless the settings say otherwise."""

#: A host is observed under each driver by itself.
_SEEN: Final = ("host", "driver")
_STATES: Final = (*(state.value for state in PowerState), UNKNOWN)
_DELAYS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)


@dataclass(slots=True)
class Counts:
    """What was counted since the service began."""

    #: Facts by kind, and by what kind of stream they came from.
    facts: Counter[tuple[str, str]] = field(default_factory=Counter)
    #: How long events were under way to the log: so many in each bucket, and seconds in all.
    delays: list[int] = field(default_factory=lambda: [0] * (len(_DELAYS) + 1))
    delayed: float = 0.0
    #: Seconds by observer's stream in which nobody saw its host, of gaps that are closed.
    blind: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def apply(self, batch: Sequence[Recorded]) -> None:
        """Count what was recorded."""
        for recorded in batch:
            event = recorded.event
            self.facts[type(event).__name__, recorded.stream.partition("/")[0]] += 1
            if isinstance(event, LifecycleEvent):
                delay = max(0, recorded.recorded_at - event.observed_at) / SECOND
                self.delays[bisect_left(_DELAYS, delay)] += 1
                self.delayed += delay
            elif isinstance(event, GapClosed):
                self.blind[recorded.stream] += max(0, event.observed_at - event.since) / SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the metrics are made of."""

    view: View
    #: Every VM, with its name.
    status: Sequence[Status]
    counts: Counts
    now: Timestamp
    head: int
    tables_at: int
    log_bytes: int | None
    wal_bytes: int
    recording: Recording
    followers: int
    resets: int
    each_vm: bool


def exposition(told: Told) -> bytes:
    """Write all metrics in Prometheus' text format."""
    return generate_latest(_Once(list(_families(told))))


class _Once:
    """Metrics that are made already, as the library wants to collect them."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def _families(told: Told) -> Iterator[Metric]:
    build = GaugeMetricFamily("es_power_build_info", "The version that runs; always 1.", labels=["version"])
    build.add_metric([package_version()], 1)
    yield build
    yield GaugeMetricFamily("es_power_log_position", "Position of the log's last record.", told.head)
    if told.log_bytes is not None:
        yield GaugeMetricFamily("es_power_log_bytes", "Size of the log's file.", told.log_bytes)
    yield GaugeMetricFamily("es_power_log_wal_bytes", "What SQLite has not moved into the log's file.", told.wal_bytes)
    yield from _of_recording(told)
    lag = GaugeMetricFamily("es_power_projection_lag_events", "Records not folded yet.", labels=["projection"])
    lag.add_metric(["memory"], told.head - told.view.position)
    lag.add_metric(["tables"], told.head - told.tables_at)
    yield lag
    quarantined = len(told.view.fleet.quarantined)
    yield GaugeMetricFamily("es_power_quarantined_records", "Records that were set aside as unreadable.", quarantined)
    yield from _of_hosts(told)
    yield from _of_vms(told)
    yield from _counted(told)


def _of_recording(told: Told) -> Iterator[Metric]:
    refused = GaugeMetricFamily(
        "es_power_log_refused_seconds", "For how long the log has not been written or read; 0: it is.", labels=["what"]
    )
    for doing in DOINGS:
        outage = told.recording.outages.get(doing)
        refused.add_metric([doing], max(0, told.now - outage.since) / SECOND if outage else 0.0)
    waiting = GaugeMetricFamily("es_power_events_waiting", "Events on their way to the log.", labels=_SEEN)
    dropped = CounterMetricFamily("es_power_events_dropped", "Events that found no room in memory.", labels=_SEEN)
    for stream, buffered in sorted(told.recording.buffered.items()):
        waiting.add_metric(_seen(stream), buffered.waiting)
        dropped.add_metric(_seen(stream), buffered.dropped)
    yield from (refused, waiting, dropped)


def _seen(stream: str) -> tuple[str, str]:
    return observed_host(stream) or "", stream.rpartition("/")[2]


def _of_hosts(told: Told) -> Iterator[Metric]:
    up = GaugeMetricFamily("es_power_listener_up", "Whether somebody sees the host now.", labels=_SEEN)
    blind = CounterMetricFamily(
        "es_power_blind_seconds", "Time in which nobody saw the host, since the service began.", labels=_SEEN
    )
    swept = GaugeMetricFamily("es_power_last_sweep_timestamp_seconds", "When all VMs were seen.", labels=_SEEN)
    for each in hosts(told.view):
        since = each.known.blind_since
        up.add_metric(_seen(each.stream), float(each.known.running and since is None))
        still = 0.0 if since is None else max(0, told.now - since) / SECOND
        blind.add_metric(_seen(each.stream), told.counts.blind[each.stream] + still)
        swept.add_metric(_seen(each.stream), each.known.swept_at / SECOND)
    yield from (up, blind, swept)


def _of_vms(told: Told) -> Iterator[Metric]:
    count = GaugeMetricFamily("es_power_vms", "VMs by host and power_state.", labels=["host", "state"])
    numbers = Counter((each.row.host, each.row.power_state) for each in told.status)
    for host in sorted({each.row.host for each in told.status}):
        for state in _STATES:
            count.add_metric([host, state], numbers[host, state])
    yield count
    if not told.each_vm:
        return
    labels = ["vm", "uuid", "host"]
    states = GaugeMetricFamily("es_power_vm_state", "1 for the VM's power_state.", labels=[*labels, "state"])
    since = GaugeMetricFamily("es_power_vm_state_since_timestamp_seconds", "Since when it is that.", labels=labels)
    for each in told.status:
        who = [each.name or "", str(each.row.instance), each.row.host]
        for state in _STATES:
            states.add_metric([*who, state], float(state == each.row.power_state))
        since.add_metric(who, each.row.since / SECOND)
    yield from (states, since)


def _counted(told: Told) -> Iterator[Metric]:
    facts = CounterMetricFamily("es_power_events_appended", "Facts since the service began.", labels=["kind", "source"])
    for (kind, source), number in sorted(told.counts.facts.items()):
        facts.add_metric([kind, source], number)
    yield facts
    total, buckets = 0, []
    for bound, number in zip([*map(str, _DELAYS), "+Inf"], told.counts.delays, strict=True):
        total += number
        buckets.append((bound, total))
    yield HistogramMetricFamily(
        "es_power_event_record_delay_seconds",
        "From libvirt's callback to the log.",
        buckets=buckets,
        sum_value=told.counts.delayed,
    )
    commands = GaugeMetricFamily("es_power_commands", "Stop commands by how far they are.", labels=["policy", "state"])
    lives = Counter((row.requested.policy, row.state) for row in told.view.models.commands.rows.values())
    for (policy, state), number in sorted(lives.items()):
        commands.add_metric([policy, state], number)
    yield commands
    yield GaugeMetricFamily("es_power_stream_followers", "Clients that follow the log.", told.followers)
    yield CounterMetricFamily("es_power_stream_resets", "Clients that were too slow.", told.resets)
