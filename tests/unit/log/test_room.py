"""The room beside a log: what may be stored when it was given up, and when it is made again."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from es_power.domain.events import GapOpened, GapReason
from es_power.domain.ports import Append, Write
from es_power.log.room import SIZE, Room
from es_power.testing.facts import T0
from tests.unit.log.facts import append_of, lifecycle

GAP = Append(
    writes=[Write(stream="a", expected=0, events=[GapOpened(observed_at=T0, since=T0, reason=GapReason.OVERFLOW)])]
)
OTHER = append_of("a", 0, lifecycle(1))


def full(_: Path) -> SimpleNamespace:
    return SimpleNamespace(f_bavail=1, f_frsize=4096)


def test_after_the_room_was_given_up_what_waits_and_one_gap_are_let_through(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = Room(tmp_path / "log.db")
    assert room.keep()
    assert room.keep()
    assert (tmp_path / "log.db.room").stat().st_blocks * 512 >= SIZE
    with monkeypatch.context() as disk:
        disk.setattr(os, "statvfs", full)
        assert room.admits(OTHER)
        assert room.give_up()
        assert not room.give_up()
        assert [room.admits(each) for each in (OTHER, GAP, GAP, OTHER)] == [True, True, True, False]
        assert not room.keep()

    assert room.admits(OTHER)
    assert (tmp_path / "log.db.room").exists()


def test_where_there_is_no_room_none_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    room = Room(tmp_path / "log.db")

    assert not room.keep()
    assert not list(tmp_path.iterdir())
    assert not Room(None).keep()
    assert not Room(None).give_up()


def test_a_disk_that_takes_nothing_any_more_keeps_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)

    assert not Room(tmp_path / "log.db").keep()
