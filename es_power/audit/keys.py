"""The key that signs checkpoints: Ed25519, in the forms of Go's note package, which C2SP's signed-note took over.

Rules of this file:
1. The private key is in a file of its own, readable by its owner alone, and never beside the log: whoever could change
   the log could sign it again.
2. The verifier key is one line of text that names the key; it is meant to be given away.
"""

import os
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from es_power.audit.notes import Note, Signature, is_name, read_base64
from es_power.errors import KeyFileError, NoteError

_ED25519: Final = b"\x01"
_BYTES: Final = 32
_PRIVATE: Final = "PRIVATE+KEY+"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key and its name; as text, what `es-power audit keygen` prints."""

    name: str
    public: bytes

    @property
    def id(self) -> bytes:
        """By these four bytes a signature says which key made it."""
        return sha256(f"{self.name}\n".encode() + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{b64encode(_ED25519 + self.public).decode()}"

    @classmethod
    def read(cls, text: str) -> "VerifierKey":
        """Read a verifier key; NoteError where it is not one."""
        name, key_id, public = _parts(text.strip())
        key = cls(name, public)
        if key.id.hex() != key_id:
            raise NoteError(f"the verifier key of {name} was mistyped: its id is not {key_id}")
        return key

    def signed(self, note: Note) -> bool:
        """Whether this key signed the note; False where it holds no signature of it, or one that is not true."""
        # It takes as long as all the rest of a command's start.
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        own = self.of(note)
        try:
            for each in own:
                Ed25519PublicKey.from_public_bytes(self.public).verify(each.signature, note.text.encode())
        except (InvalidSignature, ValueError):
            return False
        return bool(own)

    def of(self, note: Note) -> Sequence[Signature]:
        """The signatures of a note that say they are this key's."""
        return [each for each in note.signatures if (each.name, each.key) == (self.name, self.id)]


class Signer:
    """A private key and its name."""

    def __init__(self, name: str, seed: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        #: What its signatures are checked with.
        self.verifier = VerifierKey(name, self._key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls, name: str) -> "Signer":
        """Make a new key; NoteError for what cannot be a key's name."""
        if not is_name(name) or not name.isprintable():
            raise NoteError(f"{name!r} cannot name a key: it has no blanks and no plus")
        return cls(name, os.urandom(_BYTES))

    @classmethod
    def parse(cls, text: str) -> "Signer":
        """Read a private key; NoteError where it is not one."""
        if not text.startswith(_PRIVATE):
            raise NoteError(f"a private key begins with {_PRIVATE}")
        name, key_id, seed = _parts(text.strip().removeprefix(_PRIVATE))
        signer = cls(name, seed)
        if signer.verifier.id.hex() != key_id:
            raise NoteError(f"the private key of {name} is damaged: its id is not {key_id}")
        return signer

    def encoded(self) -> str:
        """The private key as text."""
        verifier = self.verifier
        return f"{_PRIVATE}{verifier.name}+{verifier.id.hex()}+{b64encode(_ED25519 + self._seed).decode()}"

    def sign(self, text: str) -> Note:
        """Sign a text, which ends with a line's end."""
        name, key_id = self.verifier.name, self.verifier.id
        return Note(text, [Signature(name, key_id, self._key.sign(text.encode()))])


def read_key(path: Path) -> Signer:
    """Read the file of a private key; KeyFileError where there is none, or where others may read it too."""
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        said = error.strerror if isinstance(error, OSError) else "it is no text"
        raise KeyFileError(f"the key {path} cannot be read: {said}; `es-power audit keygen` makes one") from error
    if mode & 0o007:
        raise KeyFileError(f"the key {path} can be read or changed by everybody: `chmod 600 {path}`, or make a new one")
    try:
        return Signer.parse(text)
    except NoteError as error:
        raise KeyFileError(f"{path} holds no key: {error}") from error


def write_key(path: Path, signer: Signer, *, log: Path | None) -> None:
    """Write a new key's file, mode 0600; KeyFileError where there is one, or where `log` is beside it."""
    if said := beside_log(path, log):
        raise KeyFileError(said)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise KeyFileError(
            f"there is a file {path} already, and nothing is written over: what it signed is checked with it"
        ) from error
    except OSError as error:
        raise KeyFileError(f"the key {path} cannot be written: {error.strerror}") from error
    with os.fdopen(file, "w", encoding="ascii") as opened:
        opened.write(f"{signer.encoded()}\n")
        opened.flush()
        os.fsync(file)


def beside_log(path: Path, log: Path | None) -> str:
    """Why a key may not be there; empty where it may, or where the log is no file."""
    if log is None or not _folders(path) & _folders(log):
        return ""
    return (
        f"{path} is in the folder of the log: whoever can change the log there could sign it again. Give the key "
        "another place, such as /etc/es-power/audit.key"
    )


def _folders(path: Path) -> set[Path]:
    """Of a link both count: the folder that it is in, and the one of the file that it leads to."""
    return {path.parent.resolve(), path.resolve().parent}


def _parts(text: str) -> tuple[str, str, bytes]:
    """Take name+id+key apart."""
    name, _, rest = text.partition("+")
    key_id, _, encoded = rest.partition("+")
    if not is_name(name) or not encoded:
        raise NoteError(f"{text[:20]!r}... is no key: one is NAME+ID+BASE64, as `es-power audit keygen` prints it")
    key = read_base64(encoded)
    if key[:1] != _ED25519 or len(key) != _BYTES + 1:
        raise NoteError(f"the key of {name} is not of Ed25519")
    return name, key_id, key[1:]
