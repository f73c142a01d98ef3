"""A client of a scripted Nova, which is told of by OS_* variables alone."""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from es_power.nova import NovaApi, Patience
from tests.rigs.scripted_nova import ScriptedNova, scripted_nova

QUICK = Patience(timeout=5.0, first_wait=0.001, longest_wait=0.01)


@pytest.fixture
def nova() -> Iterator[ScriptedNova]:
    with scripted_nova() as nova:
        yield nova


@pytest.fixture
def no_cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of this machine's says where a cloud is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("OS_"):
            monkeypatch.delenv(name)


@pytest.fixture
async def api(nova: ScriptedNova, no_cloud: None, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[NovaApi]:
    for name, value in nova.environment.items():
        monkeypatch.setenv(name, value)
    api = await NovaApi.connect(patience=QUICK)
    yield api
    api.close()
