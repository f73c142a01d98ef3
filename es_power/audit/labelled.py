"""Labels against the records that refer to them: a text is as it was written, forgotten, or altered."""

from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

import sqlalchemy as sa

from es_power.audit.verdict import Damage, Kind
from es_power.domain.events import Label, Position
from es_power.domain.ports import LabelText
from es_power.errors import UnknownEventError
from es_power.log.chain import Row
from es_power.log.codec import Codec
from es_power.log.labels import is_explained
from es_power.log.queries import fetch_rows
from es_power.log.schema import LABELS

_CUT: Final = 256
"""Characters of a text that an es_power of schema 1 cut, the ellipsis among them."""

_LABELS_OF_SCHEMA_1: Final = str(sa.select(LABELS.c.id, LABELS.c.salt, LABELS.c.text))
_LABELS: Final = str(sa.select(LABELS.c.id, LABELS.c.salt, LABELS.c.text, LABELS.c.whole))


class Labels:
    """Which records refer to which labels."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._bearing: dict[str, bool] = {}
        self._said: dict[int, tuple[bytes, Position]] = {}
        #: Of rows beside the log: as they were written; gone; and those that nobody can check.
        self.explained = self.gone = self.unchecked = 0
        #: Records that cannot be read, so that nobody knows which labels they refer to.
        self.unread = 0

    def note(self, rows: Sequence[Row]) -> None:
        """Take in what records refer to."""
        bearing = self._bearing
        for row in rows:
            topic = row[4]
            bears = bearing.get(topic)
            if bears is None:
                bears = bearing[topic] = self._codec.bears_labels(topic)
            if bears:
                self._look(row)

    def _look(self, row: Row) -> None:
        try:
            for label in self._codec.labels(row[4], row[5]):
                self._said.setdefault(label.id, (label.digest, row[0]))
        except UnknownEventError:
            self.unread += 1

    def check(self, connection: sa.Connection, *, whole: bool) -> Iterator[Damage]:
        """Find the rows that are not those of a record; where the log is not whole, others may have been pruned."""
        has_digests = any(each["name"] == "whole" for each in sa.inspect(connection).get_columns(LABELS.name))
        sql = _LABELS if has_digests else _LABELS_OF_SCHEMA_1
        known = 0
        for row in cast(Sequence[Any], fetch_rows(connection, sql)):
            number, salt, text = row[:3]
            cut = row[3] if has_digests else b"" if _may_be_cut(text) else None
            said = self._said.get(number)
            if said is None:
                if whole and not self.unread:
                    yield Damage(kind=Kind.LABELS, detail=f"no record refers to the text of label {number}")
                continue
            known += 1
            try:
                label = Label(id=number, digest=said[0])
                fits = is_explained(label, LabelText(id=number, salt=salt, text=text, whole=cut))
            except (TypeError, AttributeError, UnicodeEncodeError):
                fits = False
            if fits:
                self.explained += 1
            elif fits is None:
                self.unchecked += 1
            else:
                detail = f"the text of label {number} is not the one that the record was written with"
                yield Damage(kind=Kind.LABELS, position=said[1], detail=detail)
        self.gone = len(self._said) - known


def _may_be_cut(text: object) -> bool:
    return isinstance(text, str) and (len(text) >= _CUT or "\N{REPLACEMENT CHARACTER}" in text)
