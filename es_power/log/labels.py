"""Labels: texts that may be personal or hostile, kept beside the log so that they can be forgotten."""

import secrets
from hashlib import sha256
from typing import Final

from es_power.domain.events import Label
from es_power.domain.ports import LabelText

SHOWN: Final = 255
"""Characters of a text that are kept; libvirt accepts names of 100,000."""

_SALT_BYTES: Final = 16


def make_label(text: str) -> tuple[Label, LabelText]:
    """Give the label for a record and the row that explains it.

    The digest is SHA-256 over the salt and all of the text, so two texts that begin alike stay apart, and without the
    row nobody can guess the text from the record.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    number = secrets.randbits(63)
    digest = label_digest(salt, text)
    return Label(id=number, digest=digest), LabelText(id=number, salt=salt, text=shown(text))


def shown(text: str) -> str:
    """What is kept of a text: its beginning, with U+FFFD for what no database stores (NUL, half a surrogate pair)."""
    storable = (
        text[:SHOWN]
        .encode("utf-16", "surrogatepass")
        .decode("utf-16", "replace")
        .replace("\0", "\N{REPLACEMENT CHARACTER}")
    )
    return storable if len(text) <= SHOWN else f"{storable}\N{HORIZONTAL ELLIPSIS}"


def label_digest(salt: bytes, text: str) -> bytes:
    """Compute the digest that a label of this text has under this salt."""
    return sha256(salt + text.encode("utf-8", "surrogatepass")).digest()
