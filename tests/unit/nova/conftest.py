"""A client of a scripted Nova, which is told of by OS_* variables alone."""

import os
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from es_power.nova import NovaApi, Patience
from tests.rigs.scripted_nova import ScriptedNova, scripted_nova

QUICK = Patience(timeout=10.0, first_wait=0.001, longest_wait=0.01)


@pytest.fixture
def nova() -> Iterator[ScriptedNova]:
    with scripted_nova() as nova:
        yield nova


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing says where a cloud is, but what a test writes into its clouds.yaml."""
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)
    # The library looks for its files in the places that there were when it was imported.
    monkeypatch.setattr("openstack.config.loader.CONFIG_FILES", [str(tmp_path / "clouds.yaml")])


@pytest.fixture
def connect(
    nova: ScriptedNova, no_cloud: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Awaitable[NovaApi]]]:
    """Make clients whose patience the test says."""
    for name, value in nova.environment.items():
        monkeypatch.setenv(name, value)
    made: list[NovaApi] = []

    async def connect(**patience: float) -> NovaApi:
        made.append(await NovaApi.connect(patience=replace(QUICK, **patience)))
        return made[-1]

    yield connect
    for api in made:
        api.close()


@pytest.fixture
async def api(connect: Callable[..., Awaitable[NovaApi]]) -> NovaApi:
    return await connect()
