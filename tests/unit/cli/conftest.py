"""The command line in this process, asked about a log that a story wrote."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
import trio

from es_power.cli import main
from tests.unit.story import one_host


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def rows(self):
        return json.loads(self.out)


Ask = Callable[..., Answer]


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log with one host's story; nobody writes to it."""
    return trio.run(one_host().write, tmp_path_factory.mktemp("log") / "log.db")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of one's own, to write to."""
    return trio.run(one_host().write, tmp_path / "log.db")


@pytest.fixture
def ask(
    told: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Ask]:
    for name in os.environ:
        if name.startswith("ES_POWER_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ES_POWER_LOG", str(told))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")

    def asking(*arguments: object) -> Answer:
        code = main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Answer(code, out, err)

    yield asking
    structlog.reset_defaults()  # what a command logs to ends with its test
