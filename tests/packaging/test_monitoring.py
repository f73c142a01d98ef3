"""What Prometheus says of the alert rules and of the dashboard's queries; and that both ask for what there is."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from es_power.api.metrics import Counts, Told, exposition
from es_power.domain.time import Timestamp
from es_power.ingest.recording import Buffered, Recording
from es_power.log import open_log
from es_power.projections.queries import look, status
from tests.acceptance.night import NOW, STREAM, write_night
from tests.packaging.conftest import run

with_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (of Debian's package prometheus) is not installed"
)
NAME = re.compile(r"\bes_power_[a-z_]+")


@pytest.fixture
def rules(checkout: Path, tmp_path: Path) -> Path:
    """A copy, with its tests beside it."""
    return Path(shutil.copytree(checkout / "contrib/prometheus", tmp_path / "rules")) / "es-power.rules.yml"


@pytest.fixture
def dashboard(checkout: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((checkout / "contrib/grafana/es-power.json").read_text())
    return found


def queries(dashboard: dict[str, Any]) -> Iterator[str]:
    """What its panels ask, with an answer for each variable."""
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"].replace("$__rate_interval", "5m").replace("$host", ".*").replace("$vm", ".*")


async def metrics(folder: Path) -> set[str]:
    """The names of all series that es_power has."""
    await write_night(folder / "log.db")
    async with open_log(folder / "log.db") as log:
        view = await look(log)
        told = Told(
            view=view,
            status=await status(view, now=NOW),
            counts=Counts(delays=[1] * 12),
            now=Timestamp(NOW),
            head=view.position,
            tables_at=view.position,
            log_bytes=1,
            wal_bytes=1,
            recording=Recording(outages={}, buffered={STREAM: Buffered(waiting=0, dropped=0)}),
            followers=0,
            resets=0,
            each_vm=True,
        )
    lines = exposition(told).decode().splitlines()
    named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    return {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")} | named


async def test_rules_and_dashboard_ask_for_metrics_that_there_are(
    rules: Path, dashboard: dict[str, Any], tmp_path: Path
) -> None:
    # Counted since the service began, which here has not.
    known = await metrics(tmp_path) | {"es_power_events_appended_total"}
    asked = set(NAME.findall(rules.read_text())) | set(NAME.findall(json.dumps(dashboard)))

    assert asked - known == set()


@with_promtool
def test_promtool_finds_nothing_wrong_with_the_rules(rules: Path) -> None:
    done = run("promtool", "check", "rules", rules)

    assert done.returncode == 0, done.stdout + done.stderr


@with_promtool
def test_each_alert_fires_when_it_should_and_not_before(rules: Path) -> None:
    tests = rules.with_name("es-power.rules.test.yml")
    done = run("promtool", "test", "rules", tests)
    alerts = re.findall(r"- alert: (\w+)", rules.read_text())
    firing = re.findall(r"- eval_time: \w+\n\s+alertname: (\w+)", tests.read_text())

    assert done.returncode == 0, done.stdout + done.stderr
    assert set(firing) == set(alerts)


@with_promtool
@pytest.mark.parametrize(
    ("rule", "mistaken"),
    [
        ("es_power_listener_up == 0", "es_power_listener_up == 1"),
        ("for: 2m", "for: 20m"),
        ("es_power_log_refused_seconds > 30", "es_power_log_refused_seconds > 3000"),
    ],
)
def test_a_rule_that_fires_wrongly_would_be_found(rules: Path, rule: str, mistaken: str) -> None:
    assert rule in rules.read_text()
    rules.write_text(rules.read_text().replace(rule, mistaken))

    assert run("promtool", "test", "rules", rules.with_name("es-power.rules.test.yml")).returncode != 0


@with_promtool
def test_promtool_can_read_every_query_of_the_dashboard(dashboard: dict[str, Any], tmp_path: Path) -> None:
    asked = list(queries(dashboard))
    recorded = [{"record": f"es_power:query{place}", "expr": each} for place, each in enumerate(asked)]
    as_rules = tmp_path / "queries.yml"
    as_rules.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": recorded}]}))
    done = run("promtool", "check", "rules", as_rules)

    assert len(asked) > 15
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_dashboard_has_a_place_for_each_panel(dashboard: dict[str, Any]) -> None:
    cells = [
        (x, y)
        for at in (panel["gridPos"] for panel in dashboard["panels"])
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]

    assert len(cells) == len(set(cells))
    assert all(x < 24 for x, _ in cells)
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
