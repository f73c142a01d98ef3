"""Labels against the records that refer to them: a text is as it was written, forgotten, altered, or taken away.

A text that was forgotten is gone, and a fact says so (`LabelsForgotten`); one that is gone without such a fact was
taken away. Of labels inside imported facts nobody can say: their texts may have been gone where they came from.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final, cast

import sqlalchemy as sa

from es_power.audit.verdict import Damage, Kind
from es_power.domain.custody import LabelsForgotten
from es_power.domain.events import Label, Position
from es_power.domain.logged import FactImported
from es_power.domain.ports import LabelText
from es_power.errors import UnknownEventError
from es_power.log.chain import Row
from es_power.log.codec import Codec
from es_power.log.database import tables_in
from es_power.log.labels import is_cut, is_explained
from es_power.log.queries import fetch_rows
from es_power.log.schema import LABELS

_AT_ONCE: Final = 1000  # labels that are read

_NAMED: Final = 5  # of the labels that were taken away, as many are named

_LABELS_OF_SCHEMA_1: Final = str(sa.select(LABELS.c.id, LABELS.c.salt, LABELS.c.text))
_LABELS: Final = str(sa.select(LABELS.c.id, LABELS.c.salt, LABELS.c.text, LABELS.c.whole))


def read_labels(connection: sa.Connection, ids: Sequence[int]) -> Iterator[LabelText]:
    """Read the rows of some labels; one whose text was forgotten has none."""
    for start in range(0, len(ids), _AT_ONCE):
        some = ",".join(map(str, ids[start : start + _AT_ONCE]))
        yield from _rows(connection, f" WHERE id IN ({some})")


class Labels:
    """Which records refer to which labels."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._bearing: dict[str, bool] = {}
        #: By a label's id: its digest, the first record that has it, and whether a text was written with that.
        self._said: dict[int, tuple[bytes, Position, bool]] = {}
        self._forgotten: set[int] = set()
        #: Of rows beside the log: as they were written; gone; and those that nobody can check.
        self.explained = self.gone = self.unchecked = 0
        #: Records that cannot be read, so that nobody knows which labels they refer to.
        self.unread = 0

    def note(self, rows: Sequence[Row]) -> None:
        """Take in what records refer to."""
        topics = {row[4] for row in rows}
        bearing = self._bearing
        for topic in topics - bearing.keys():
            bearing[topic] = self._codec.bears_labels(topic)
        if any(bearing[topic] for topic in topics):
            for row in rows:
                if bearing[row[4]]:
                    self._look(row)

    def _look(self, row: Row) -> None:
        position, topic, state = row[0], row[4], row[5]
        name = topic.partition(":")[0]
        try:
            if name == LabelsForgotten.__name__:
                event = self._codec.decode(topic, state)
                assert isinstance(event, LabelsForgotten)
                self._forgotten.update(event.labels)
            for label in self._codec.labels(topic, state):
                self._said.setdefault(label.id, (label.digest, position, name != FactImported.__name__))
        except (UnknownEventError, TypeError, AttributeError):
            # Before the cut of a pruned log, what is no record at all is told of and gone past.
            self.unread += 1

    def check(self, connection: sa.Connection) -> Iterator[Damage]:
        """Find the rows that are not those of a record, and the records that lack theirs; ask it once.

        Of a pruned log the same is demanded: the records that stay were noted, and a label of one that went, went too.
        """
        if LABELS.name not in tables_in(connection):
            self.gone = len(self._said)
            yield Damage(kind=Kind.LABELS, detail="there is no table of texts")
            return
        for row in _rows(connection):
            number = row.id
            said = self._said.pop(number, None)
            if said is None:
                if not self.unread:
                    yield Damage(kind=Kind.LABELS, detail=f"no record refers to the text of label {number}")
                continue
            try:
                label = Label(id=number, digest=said[0])
                fits = is_explained(label, row)
            except (TypeError, AttributeError, UnicodeEncodeError):
                fits = False
            if fits:
                self.explained += 1
            elif fits is None:
                self.unchecked += 1
            else:
                detail = f"the text of label {number} is not the one that the record was written with"
                yield Damage(kind=Kind.LABELS, position=said[1], detail=detail)
        self.gone = len(self._said)
        yield from self._taken()

    def _taken(self) -> Iterator[Damage]:
        """Find the labels whose text is gone though nobody forgot it."""
        taken = {
            number: position
            for number, (_, position, was_written) in self._said.items()
            if was_written and number not in self._forgotten
        }
        if taken and not self.unread:
            named = ", ".join(map(str, islice(taken, _NAMED)))
            more = f" and {len(taken) - _NAMED} more" if len(taken) > _NAMED else ""
            detail = f"the text of label {named}{more} is gone, and no fact says that it was forgotten"
            yield Damage(kind=Kind.LABELS, position=min(taken.values()), detail=detail)


def _rows(connection: sa.Connection, where: str = "") -> Iterator[LabelText]:
    """Read rows as they are, whatever somebody may have written into them."""
    has_digests = any(each["name"] == "whole" for each in sa.inspect(connection).get_columns(LABELS.name))
    sql = (_LABELS if has_digests else _LABELS_OF_SCHEMA_1) + where
    for number, salt, text, *whole in cast(Sequence[Any], fetch_rows(connection, sql)):
        cut = whole[0] if has_digests else b"" if _may_be_cut(text) else None
        yield LabelText(id=number, salt=salt, text=text, whole=cut)


def _may_be_cut(text: object) -> bool:
    return isinstance(text, str) and is_cut(text)
