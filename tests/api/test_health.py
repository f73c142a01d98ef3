"""Health and metrics: what Prometheus is told, and when a service calls itself ready."""

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from es_power.api.health import for_programs, make_health
from es_power.api.metrics import Counts
from es_power.audit.keys import Signer
from es_power.audit.sealing import Sealer
from es_power.domain.events import GapClosed, GapOpened, GapReason, LifecycleEvent, Position, Recorded
from es_power.domain.ports import Append, Write
from es_power.domain.streams import observer
from es_power.domain.time import SECOND, Timestamp, rfc3339
from es_power.errors import LogUnavailableError
from es_power.ingest.recording import Buffered, Recording
from es_power.log.patience import Outage
from es_power.projections.quarantine import SetAside
from es_power.settings import Metrics
from es_power.testing.facts import T0, Facts, vm
from tests.acceptance.night import NOW
from tests.api.house import Running, running
from tests.api.test_stream import name_it


def prometheus(api: Running, host: str = "localhost:9420") -> httpx.AsyncClient:
    """One who asks at the listener for programs."""
    app: Any = for_programs(make_health(api.house), api.access)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}")


async def metrics(api: Running) -> str:
    async with prometheus(api) as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    return answer.text


async def test_the_states_of_vms_are_told_as_they_are(api: Running) -> None:
    text = await metrics(api)

    assert 'es_power_vms{host="kvm-07",state="SHUTDOWN"} 2.0' in text
    assert (
        'es_power_vm_state{host="kvm-07",state="RUNNING",uuid="a2e4a1d0-93ab-4f5e-8b1c-0f6f3a1d7c55",vm="ci-9"} 1.0'
        in text
    )
    assert 'es_power_listener_up{driver="qemu",host="kvm-07"} 1.0' in text
    assert "es_power_log_position 80.0" in text


async def test_a_host_that_is_observed_under_two_drivers_has_each_series_twice(api: Running) -> None:
    streams = [observer("kvm-07", driver) for driver in ("lxc", "qemu")]
    buffered = {stream: Buffered(waiting=7, dropped=3) for stream in streams}
    api.house.recording = lambda: Recording(outages={}, buffered=buffered)
    events = [
        GapOpened(observed_at=NOW, since=NOW, reason=GapReason.CONNECTION_LOST),
        GapClosed(observed_at=Timestamp(NOW + 5 * SECOND), since=NOW, reason=GapReason.CONNECTION_LOST),
    ]
    position = await api.house.log.append(Append(writes=[Write(stream=streams[0], expected=0, events=events)]))
    await api.house.follower.reached(position)

    text = await metrics(api)
    series = [line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")]

    assert len(series) == len(set(series))
    assert 'es_power_blind_seconds_total{driver="lxc",host="kvm-07"} 5.0' in text
    assert 'es_power_blind_seconds_total{driver="qemu",host="kvm-07"} 0.0' in text


async def test_what_the_log_gains_is_counted(api: Running) -> None:
    await name_it(api.house.log, 'hostile "name"\n\\', "b")
    await api.house.follower.reached(await api.house.log.head())

    text = await metrics(api)

    assert 'es_power_events_appended_total{kind="InstanceNamed",source="observer"} 2.0' in text


async def test_each_vm_is_told_of_only_where_the_settings_say_so(api: Running, night: Path) -> None:
    from msgspec.structs import replace

    texts = {}
    for choice in ("always", "auto", "never"):
        api.house.settings = replace(api.house.settings, metrics=Metrics(vm_labels=choice))
        texts[choice] = "es_power_vm_state{" in await metrics(api)

    assert texts == {"always": True, "auto": True, "never": False}


def test_delays_and_blind_times_are_summed() -> None:
    facts, counts = Facts(), Counts()
    event = LifecycleEvent(observed_at=T0, instance=vm(1), connection=1, number=1, event=2, detail=0)
    late = Recorded(position=1, stream="observer/a/qemu", version=1, recorded_at=T0 + 30_000_000, event=event)  # type: ignore[arg-type]
    facts.gap()
    facts.seen_again()

    counts.apply([late, *facts.records])

    assert (sum(counts.delays), counts.delayed) == (1, pytest.approx(0.03))
    assert counts.facts["LifecycleEvent", "observer"] == 1


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (of Debian's package prometheus) is not installed"
)
async def test_promtool_finds_nothing_wrong_with_the_metrics(api: Running) -> None:
    await name_it(api.house.log, 'hostile "name"\n\\')
    await api.house.follower.reached(await api.house.log.head())

    text = await metrics(api)
    done = await trio.run_process(
        ["promtool", "check", "metrics"], stdin=text.encode(), capture_stdout=True, capture_stderr=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


async def test_a_service_is_ready_once_it_observes_and_sees(api: Running) -> None:
    async with prometheus(api) as client:
        alive = await client.get("/healthz")
        before = await client.get("/readyz")
        api.house.is_ready = True
        after = await client.get("/readyz")

    assert (alive.status_code, before.status_code, after.status_code) == (200, 503, 200)
    checks = {"log": True, "written": True, "folded": True, "observing": False, "seen": True}
    assert before.json() == {"ready": False, "checks": checks}


async def test_a_service_whose_log_refuses_says_since_when_and_why_and_how_much_waits(api: Running) -> None:
    outage = Outage(since=Timestamp(NOW - 90 * SECOND), reason="the disk is full")
    buffered = {"observer/kvm-07/qemu": Buffered(waiting=7, dropped=3)}
    api.house.recording = lambda: Recording(outages={"written": outage}, buffered=buffered)
    api.house.is_ready = True

    async with prometheus(api) as client:
        alive, ready = await client.get("/healthz"), await client.get("/readyz")
    text = await metrics(api)

    assert (alive.status_code, ready.status_code) == (200, 503)
    assert ready.json()["checks"]["written"] is False
    assert ready.json()["refused"] == {"written": {"since": rfc3339(outage.since), "because": "the disk is full"}}
    assert (ready.json()["events_waiting"], ready.json()["events_dropped"]) == (7, 3)
    assert 'es_power_log_refused_seconds{what="written"} 90.0' in text
    assert 'es_power_log_refused_seconds{what="read"} 0.0' in text
    assert 'es_power_events_waiting{driver="qemu",host="kvm-07"} 7.0' in text
    assert 'es_power_events_dropped_total{driver="qemu",host="kvm-07"} 3.0' in text
    assert "es_power_log_wal_bytes" in text


async def test_a_log_that_cannot_be_read_leaves_metrics_that_say_so(
    api: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise LogUnavailableError

    monkeypatch.setattr(api.house.log, "head", refuse)

    assert "es_power_log_position 80.0" in await metrics(api)


async def test_what_was_set_aside_is_counted(api: Running) -> None:
    aside = SetAside(position=Position(7), stream="declarations", kind="Prophesied", reason="unknown topic")
    api.house.follower.models.fleet.quarantine(aside)

    async with prometheus(api) as client:
        assert (await client.get("/readyz")).json()["quarantined"] == 1
    assert "es_power_quarantined_records 1.0" in await metrics(api)


async def test_a_page_of_another_site_reads_no_metrics(api: Running) -> None:
    async with prometheus(api, host="evil.example") as client:
        refused = await client.get("/metrics")
    async with prometheus(api) as client:
        absent = await client.get("/v1/vms")
        wrong = await client.post("/metrics")

    assert [each.status_code for each in (refused, absent, wrong)] == [421, 404, 405]
    assert {each.headers["content-type"] for each in (refused, absent, wrong)} == {"application/problem+json"}


async def test_a_vm_too_many_is_told_in_numbers_alone(night: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("es_power.api.health.AUTO", 2)
    async with running(night) as api:
        assert "es_power_vm_state{" not in await metrics(api)


async def test_a_checkpoint_that_a_place_did_not_take_is_told_and_answers_go_on(api: Running) -> None:
    api.house.is_ready = True
    api.house.sealer = Sealer(api.house.log, Signer.generate("x"), ["file:/nowhere/x"], clock=api.house.clock)
    await api.house.sealer.try_to_seal()
    async with prometheus(api) as client:
        answer = await client.get("/readyz")

    assert answer.json()["checks"]["sealed"] is False
    assert answer.status_code == (200 if answer.json()["ready"] else 503)
