"""Every log keeps the same contract."""

from contextlib import asynccontextmanager

import pytest

from es_power.log import open_log
from es_power.testing.log_contract import LogContract
from es_power.testing.memory import MemoryLog


class TestInPython(LogContract):
    @asynccontextmanager
    async def open_log(self):
        yield MemoryLog()


class TestInSqliteMemory(LogContract):
    def open_log(self):
        return open_log("sqlite://", mode="write")


class TestInSqliteFile(LogContract):
    @pytest.fixture(autouse=True)
    def _place(self, tmp_path):
        self.place = tmp_path / "log.db"

    def open_log(self):
        return open_log(self.place, mode="write")


@pytest.mark.postgres
class TestInPostgres(LogContract):
    @pytest.fixture(autouse=True)
    def _place(self, postgres):
        self.place = postgres.url()

    def open_log(self):
        return open_log(self.place, mode="write")
