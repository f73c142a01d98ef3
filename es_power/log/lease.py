"""One service per observer's stream: the lease that a start takes, and how it is lost.

On SQLite it is a lock of the operating system on a file beside the log: death itself releases it, so a restart after
kill -9 waits for nobody. On PostgreSQL (and in memory) it is a row that expires by the clock of the database; its
holder renews it, and a start waits for the rest of its time. The row names the holder in both.

A lease keeps two services from starting side by side. It does not fence: whoever was paused and comes back late finds
out by the version conflict of its next append, or here, when it renews.
"""

import fcntl
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Final, TypeVar

import sqlalchemy as sa
import structlog
import trio

from es_power.domain.streams import stream_id
from es_power.domain.time import SECOND
from es_power.errors import LeaseHeldError, LogError, LogUnavailableError
from es_power.log.database import Database
from es_power.log.marks import lease_file, lease_files, write_mark
from es_power.log.schema import HEAD, LEASES
from es_power.log.upgrade import alone
from es_power.log.writer import SqlLog

DURATION: Final = 15.0
"""Seconds that a row lasts after its last renewal."""

_NOW_SQLITE: Final = sa.text("SELECT CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER) * 1000000")
_NOW_POSTGRES: Final = sa.text("SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) * 1000")

T = TypeVar("T")

_RENEWALS: Final = 3  # in one duration
_LOOKS: Final = 10  # in one duration, by a start that waits


@asynccontextmanager
async def lease(
    log: SqlLog, stream: str, holder: str, *, nursery: trio.Nursery, duration: float = DURATION
) -> AsyncIterator[int]:
    """Hold the lease of a stream inside the block, and give its epoch: 1 for the first holder ever, then rising.

    Raises LeaseHeldError, which names the holder, where another service is alive. Where the lease is lost meanwhile,
    the same error ends `nursery`, in which the renewal runs.
    """
    claim = _Claim(log.database, stream, holder, duration)
    with claim.file_lock():
        epoch = await claim.wait_for_row()
        await claim.mark()
        renewal = trio.CancelScope()
        nursery.start_soon(claim.renew, epoch, renewal)
        try:
            yield epoch
        finally:
            renewal.cancel()
            await claim.release(epoch)
            await claim.mark()


@contextmanager
def no_service(database: Database) -> Iterator[None]:
    """Keep every service away from a log inside the block; LeaseHeldError where one has it already."""
    path = database.place.path
    with ExitStack() as locks:
        locks.enter_context(alone(database.place))
        for beside in lease_files(path) if path else ():
            handle = os.open(beside, os.O_RDWR)
            locks.callback(os.close, handle)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LeaseHeldError(*_whose(database, beside.name.rpartition("-")[2])) from error
        if path is None:
            _require_expired(database)
        yield


def end_leases(connection: sa.Connection, epochs: Mapping[str, int]) -> None:
    """Have the next start of each stream wait for nobody, in an epoch above these too."""
    for row in connection.execute(sa.select(LEASES.c.stream, LEASES.c.epoch)).all():
        epoch = max(row.epoch, epochs.get(row.stream, 0))
        connection.execute(sa.update(LEASES).where(LEASES.c.stream == row.stream).values(epoch=epoch, expires_at=0))
    known = set(connection.scalars(sa.select(LEASES.c.stream)))
    for stream in epochs.keys() - known:
        connection.execute(sa.insert(LEASES).values(stream=stream, holder="nobody", epoch=epochs[stream], expires_at=0))


def epochs(database: Database) -> dict[str, int]:
    """The newest epoch of each stream that was ever leased."""
    with database.read() as connection:
        return {row.stream: row.epoch for row in connection.execute(sa.select(LEASES.c.stream, LEASES.c.epoch))}


def _whose(database: Database, marked: str) -> tuple[str, str]:
    """The stream of a lease's file, and its holder."""
    with suppress(LogError), database.read() as connection:
        for row in connection.execute(sa.select(LEASES.c.stream, LEASES.c.holder)):
            if stream_id(row.stream).hex[:16] == marked:
                return row.stream, row.holder
    return str(database.place), "another service"


def _require_expired(database: Database) -> None:
    with database.read() as connection:
        now = _now(database, connection)
        live = connection.execute(sa.select(LEASES).where(LEASES.c.expires_at > now)).first()
    if live is not None:
        raise LeaseHeldError(live.stream, live.holder)


def _now(database: Database, connection: sa.Connection) -> int:
    """The time by the clock of the database."""
    return int(connection.execute(_NOW_SQLITE if database.is_sqlite else _NOW_POSTGRES).scalar_one())


@dataclass(frozen=True, slots=True)
class _Held:
    """A live row of somebody else."""

    holder: str
    expires_at: int
    #: Seconds until then, by the database's clock.
    remaining: float


class _Claim:
    """One service's claim to one stream."""

    def __init__(self, database: Database, stream: str, holder: str, duration: float) -> None:
        self._database = database
        self._stream = stream
        self._holder = holder
        self._duration = duration
        self._path = database.place.path
        self._limiter = trio.CapacityLimiter(1)

    @contextmanager
    def file_lock(self) -> Iterator[None]:
        """Lock the stream's file beside a log that is a file; nothing elsewhere."""
        if self._path is None:
            yield
            return
        beside = lease_file(self._path, self._stream)
        try:
            handle = os.open(beside, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise LogUnavailableError(f"{beside} cannot be written: {error.strerror}; check its directory") from error
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise LeaseHeldError(self._stream, self._named_holder()) from error
            yield
        finally:
            os.close(handle)

    async def wait_for_row(self) -> int:
        """Take the row and give its epoch, after the rest of a lease that nobody renews any more."""
        seen: int | None = None
        said = False
        while True:
            wait = self._duration / _LOOKS
            try:
                found = await self._in_thread(self._take)
                if not isinstance(found, _Held):
                    return found
                if seen not in {None, found.expires_at}:
                    raise LeaseHeldError(self._stream, found.holder)
                seen, wait = found.expires_at, min(found.remaining, wait)
            except LogUnavailableError as error:
                # Its log was opened before, so this is no mistake in the settings.
                if not said:
                    structlog.get_logger().error("the lease cannot be taken; trying on", because=str(error))
                said = True
            await trio.sleep(wait)

    async def renew(self, epoch: int, scope: trio.CancelScope) -> None:
        """Renew the row until cancelled; LeaseHeldError where somebody else took it.

        A database that does not answer is no reason to end: appends say so too, and it may come back in time.
        """
        with scope:
            while not self._path:
                await trio.sleep(self._duration / _RENEWALS)
                with suppress(LogUnavailableError):
                    if not await self._in_thread(lambda: self._extend(epoch, self._duration)):
                        raise LeaseHeldError(self._stream, await self._in_thread(self._named_holder))

    async def mark(self) -> None:
        """Write down beside the log how far it has come."""
        with trio.CancelScope(shield=True):
            await self._in_thread(lambda: write_mark(self._database, self._stream))

    async def release(self, epoch: int) -> None:
        """Let the next start have the row at once; where that fails it expires."""
        with trio.CancelScope(shield=True), suppress(LogUnavailableError):
            await self._in_thread(lambda: self._extend(epoch, 0))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await trio.to_thread.run_sync(work, limiter=self._limiter)

    # ---------------------------------------------------------------------------------------------- in a thread

    def _take(self) -> int | _Held:
        with self._database.write() as connection:
            # Locked first as by an append, since a row that does not exist cannot be locked.
            connection.execute(sa.select(HEAD.c.position).with_for_update())
            row = connection.execute(sa.select(LEASES).where(LEASES.c.stream == self._stream)).one_or_none()
            now = self._now(connection)
            if row and row.expires_at > now and not self._path:
                return _Held(row.holder, row.expires_at, (row.expires_at - now) / SECOND)
            epoch = row.epoch + 1 if row else 1
            connection.execute(sa.delete(LEASES).where(LEASES.c.stream == self._stream))
            connection.execute(
                sa.insert(LEASES).values(
                    stream=self._stream, holder=self._holder, epoch=epoch, expires_at=now + int(self._duration * SECOND)
                )
            )
            return int(epoch)

    def _extend(self, epoch: int, seconds: float) -> bool:
        mine = sa.update(LEASES).where(LEASES.c.stream == self._stream, LEASES.c.epoch == epoch)
        with self._database.write() as connection:
            expires_at = self._now(connection) + int(seconds * SECOND)
            return connection.execute(mine.values(expires_at=expires_at)).rowcount == 1

    def _named_holder(self) -> str:
        with self._database.read() as connection:
            found = connection.scalar(sa.select(LEASES.c.holder).where(LEASES.c.stream == self._stream))
        return found or "another service"

    def _now(self, connection: sa.Connection) -> int:
        return _now(self._database, connection)
