"""The API as people reach it: a real `es-power run`, by its socket, its port, a token and a link."""

import json
import signal
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import trio

from tests.acceptance.program import Machine

SETTINGS = """
[log]
path = "log.db"
[observe]
uri = ["test:///default"]
[api]
enabled = true
listen = "127.0.0.1:{api}"
[metrics]
enabled = true
listen = "127.0.0.1:{metrics}"
"""


@pytest.fixture
def es_power(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setattr("tests.acceptance.program.QUIET", {})
    return Machine(tmp_path)


def free_port() -> int:
    import socket

    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def test_people_and_programs_ask_a_running_service(es_power: Machine) -> None:
    config = es_power.home / "config.toml"
    api, metrics = free_port(), free_port()
    config.write_text(SETTINGS.format(api=api, metrics=metrics))
    url = f"http://127.0.0.1:{api}"
    async with es_power.running("run", "--config", config) as service:
        await service.says("observing")
        made = await trio.to_thread.run_sync(lambda: es_power("token", "add", "ci", "--config", config))
        link = await trio.to_thread.run_sync(lambda: es_power("ui", "--config", config, "--role", "read"))
        told = await trio.to_thread.run_sync(lambda: es_power("status", "--config", config, "-o", "json"))
        async with httpx.AsyncClient(base_url=url) as browser:
            entered = await browser.get(link.out.strip().removeprefix(url))
            again = await browser.get(link.out.strip().removeprefix(url))
            seen = await browser.get("/v1/vms")
        async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {made.out.strip()}"}) as program:
            rows = (await program.get("/v1/vms")).json()["items"]
            listed = json.loads(
                (await trio.to_thread.run_sync(lambda: es_power("token", "list", "--config", config, "-o", "json"))).out
            )
            await trio.to_thread.run_sync(lambda: es_power("token", "revoke", listed[0]["id"], "--config", config))
            with trio.fail_after(10):
                while (refused := await program.get("/v1/vms")).status_code == 200:
                    await trio.sleep(0.05)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{metrics}") as prometheus:
            health = [
                (await prometheus.get(path)).status_code for path in ("/healthz", "/readyz", "/metrics", "/v1/vms")
            ]
        done = await service.end(signal.SIGTERM)

    assert (entered.status_code, again.status_code, seen.status_code) == (303, 401, 200)
    assert rows == json.loads(told.out) == seen.json()["items"]
    assert (refused.status_code, health) == (401, [200, 200, 200, 404])
    assert [(each["name"], each["role"]) for each in listed] == [("ci", "read")]
    assert done.code == 0
    assert sorted(each.name for each in es_power.home.glob("*.sock")) == []


def test_a_port_that_is_taken_is_one_clear_line(es_power: Machine) -> None:
    import socket

    config = es_power.home / "config.toml"
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        config.write_text(SETTINGS.format(api=taken.getsockname()[1], metrics=0))
        done = es_power("run", "--config", config)

    assert done.code == 1
    [line] = done.complaints
    assert "another program has it; set [api] listen to another place, or [api] enabled = false" in line


def test_an_address_that_others_reach_is_refused(es_power: Machine) -> None:
    config = es_power.home / "config.toml"
    config.write_text(SETTINGS.format(api=0, metrics=0).replace('"127.0.0.1:0"', '"0.0.0.0:0"', 1))

    done = es_power("run", "--config", config)

    assert (done.code, len(done.complaints)) == (1, 1)
    assert "[api] listen is 0.0.0.0:0, which other machines reach" in done.complaints[0]


def test_a_link_needs_a_service_that_runs(es_power: Machine) -> None:
    done = es_power("ui", "--log", "log.db")

    assert done.code == 5
    assert "is `es-power run` running?" in done.complaints[0]


def test_a_token_that_is_none_is_not_revoked(es_power: Machine) -> None:
    assert es_power("log", "upgrade", "--log", "log.db").code == 0

    unknown = es_power("token", "revoke", "00000000-0000-0000-0000-000000000000", "--log", "log.db")
    nonsense = es_power("token", "revoke", "ci", "--log", "log.db")
    nameless = es_power("token", "add", " ", "--log", "log.db")

    assert [each.code for each in (unknown, nonsense, nameless)] == [3, 2, 2]


async def test_the_first_service_in_a_new_directory_has_its_socket_there(es_power: Machine) -> None:
    config, place = es_power.home / "config.toml", es_power.home / "new" / "log.db"
    settings = SETTINGS.format(api=free_port(), metrics=free_port())
    config.write_text(settings)
    async with es_power.running("run", "--config", config, "--log", place) as service:
        await service.says("observing")

        assert place.with_name("log.db.api.sock").is_socket()
