"""Labels: texts that may be personal or hostile, kept beside the log so that they can be forgotten."""

import re
from hashlib import sha256
from typing import Final

from es_power.chance import bits, some_bytes
from es_power.domain.events import Label
from es_power.domain.ports import LabelText

SHOWN: Final = 255
"""Characters of a text that are kept; libvirt accepts names of 100,000."""

_SALT_BYTES: Final = 16
_HASH: Final = 32  # bytes of SHA-256


def make_label(text: str) -> tuple[Label, LabelText]:
    """Give the label for a record and the row that explains it.

    The digest is that of the row (`label_digest`), so two texts that begin alike stay apart, whoever has the row can
    check it, and without the row nobody can guess the text from the record.
    """
    salt = some_bytes(_SALT_BYTES)
    number = bits(63)
    kept = shown(text)
    whole = None if kept == text else sha256(text.encode("utf-8", "surrogatepass")).digest()
    digest = label_digest(salt, kept, whole)
    return Label(id=number, digest=digest), LabelText(id=number, salt=salt, text=kept, whole=whole)


def stands_in(name: str, text: str) -> bool:
    """Whether a name stands as a word in a text; `web-1` does not in `web-1-old`."""
    return bool(name) and re.search(_word(name.casefold()), text.casefold()) is not None


def without(name: str, text: str, instead: str) -> str:
    """A text with another word for a name, so that the name is in the log as a label only, and can be forgotten."""
    return re.sub(_word(name), lambda _: instead, text, flags=re.IGNORECASE) if name else text


def _word(name: str) -> str:
    return rf"(?<![\w-]){re.escape(name)}(?![\w-])"


def shown(text: str) -> str:
    """What is kept of a text: its beginning, with U+FFFD for what no database stores (NUL, half a surrogate pair)."""
    storable = (
        text[:SHOWN]
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
    return storable if len(text) <= SHOWN else f"{storable}\N{HORIZONTAL ELLIPSIS}"


def label_digest(salt: bytes, text: str, whole: bytes | None = None) -> bytes:
    """Compute the digest that a label has by its row: SHA-256 over the salt and the text.

    Of a text that is not kept whole, the SHA-256 of all of it stands between the two.
    """
    return sha256(salt + (whole or b"") + text.encode()).digest()


def is_explained(label: Label, row: LabelText) -> bool | None:
    """Whether the row is the one that was written with the label; None where nobody can say.

    That is so of a text that an es_power of schema 1 cut: its digest was over all of the text. All but the last of what
    a digest is made of is of a fixed length, so that no part of a text is taken for salt, or for a longer one's hash.
    """
    if row.whole == b"" and is_cut(row.text):
        return None
    if len(row.salt) != _SALT_BYTES or (row.whole is not None and (len(row.whole) != _HASH or not is_cut(row.text))):
        return False
    return label.digest == label_digest(row.salt, row.text, row.whole)


def is_cut(text: str) -> bool:
    """Whether this may be what was kept of another text."""
    return len(text) > SHOWN or "\N{REPLACEMENT CHARACTER}" in text
