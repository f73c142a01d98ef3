"""Notes and keys, against the examples that Go's note package publishes and C2SP took over."""

import pytest

from es_power.audit.keys import Signer, VerifierKey, read_key, write_key
from es_power.audit.notes import Checkpoint, Note, find_notes, in_one_line, read_checkpoint, read_note
from es_power.errors import KeyFileError, NoteError

# From the documentation of golang.org/x/mod/sumdb/note.
PRIVATE = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
VERIFIER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
SIGNED = (
    f"{TEXT}\n— PeterNeumann "
    "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
SIGNER = Signer.parse(PRIVATE)


def checkpoint(size=7, **kw):
    return Checkpoint(origin="PeterNeumann", size=size, root=bytes(range(32)), **kw)


def test_the_published_key_signs_the_published_text_as_published():
    assert str(SIGNER.verifier) == VERIFIER
    assert SIGNER.encoded() == PRIVATE
    assert str(SIGNER.sign(TEXT)) == SIGNED
    assert VerifierKey.read(VERIFIER).signed(read_note(SIGNED))


def test_a_key_signs_nothing_that_was_changed_or_signed_by_another():
    other = Signer.generate("PeterNeumann")
    note = read_note(SIGNED)

    assert not VerifierKey.read(VERIFIER).signed(Note(TEXT.upper(), note.signatures))
    assert not other.verifier.signed(note)
    assert other.verifier.signed(other.sign(TEXT))
    assert not SIGNER.verifier.signed(Note(TEXT, [note.signatures[0], *SIGNER.sign("x\n").signatures]))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (TEXT, "a note is a text"),
        (SIGNED[:-1], "a note is a text"),
        (SIGNED.replace("— ", "- "), "no signature's line"),
        (SIGNED.replace("x08go", "x08g"), "not base64"),
        (f"{TEXT}\n— A B x08go/ZJ\n", "not base64"),
        (f"{TEXT}\n— A x08goA==\n", "too short"),
        (SIGNED.replace("x08go/", "x08go\N{FULLWIDTH SOLIDUS}"), "not base64"),
        (SIGNED.replace("AM=\n", "AN=\n"), "not base64"),
        (SIGNED.replace("If", "\0f"), "control"),
        (SIGNED.replace("If", "\ud800f"), "UTF-8"),
        ("x" * 1_000_001, "at most 1,000,000 bytes"),
        (SIGNED + SIGNED.splitlines(keepends=True)[-1] * 100, "at most 100 signatures"),
    ],
)
def test_what_is_no_note_is_refused(wrong, said):
    with pytest.raises(NoteError, match=said):
        read_note(wrong)


def test_a_checkpoint_is_its_three_lines_and_what_follows():
    for made in (checkpoint(), checkpoint(0), checkpoint(extensions=("witness", "more of it"))):
        assert read_checkpoint(read_note(str(SIGNER.sign(made.text)))) == made
    assert checkpoint().text == "PeterNeumann\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "origin\n",
        "origin\n7\n",
        "origin\n07\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n-7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n\u0667\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n7\nAAEC\n",
        "\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n",
        "origin\n7\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9=\n",
    ],
)
def test_what_is_no_checkpoint_is_refused(text):
    with pytest.raises(NoteError):
        read_checkpoint(Note(text, ()))


def test_notes_are_found_where_a_place_gathered_them_whole_or_cut_off():
    notes = [SIGNER.sign(checkpoint(size).text) for size in (1, 2, 3)]
    first, second, third = map(str, notes)

    assert find_notes("") == ([], 0)
    assert find_notes(f"{first}\n{second}\n{third}\n") == (notes, 0)
    assert find_notes(f"{first}\n{second[:30]}\n\n{third}") == ([notes[0], notes[2]], 1)
    assert find_notes(f"{first[:-30]}\n\n{second}") == ([notes[1]], 1)
    assert find_notes(f"{first}\nPeterNeumann\n3") == (notes[:1], 1)


def test_notes_are_found_in_the_lines_of_a_syslog():
    notes = [SIGNER.sign(checkpoint(size).text) for size in (1, 2)]
    lines = [f"Nov 26 08:00:00 kvm-07 es-power[812]: {in_one_line(note)}\n" for note in notes]

    assert find_notes("".join(lines)) == (notes, 0)
    assert find_notes(lines[0].replace("x08go", "x08g", 1)) == ([], 1)


def test_a_keys_file_is_its_owners_and_never_written_over(tmp_path):
    path, signer = tmp_path / "audit.key", Signer.generate("kvm-07/es-power")
    write_key(path, signer, log=tmp_path / "elsewhere" / "log.db")

    assert path.stat().st_mode & 0o777 == 0o600
    assert read_key(path).verifier == signer.verifier
    with pytest.raises(KeyFileError, match="already"):
        write_key(path, signer, log=None)
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="chmod 600"):
        read_key(path)


def test_a_key_beside_the_log_is_refused(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    for log in (tmp_path / "log.db", tmp_path / "link" / "log.db"):
        with pytest.raises(KeyFileError, match="in the folder of the log"):
            write_key(tmp_path / "audit.key", SIGNER, log=log)
    assert not (tmp_path / "audit.key").exists()


def test_a_file_that_is_no_key_says_so(tmp_path):
    path = tmp_path / "audit.key"
    with pytest.raises(KeyFileError, match="No such file"):
        read_key(path)
    with pytest.raises(KeyFileError, match="cannot be written: No such file"):
        write_key(tmp_path / "none" / "audit.key", SIGNER, log=None)
    for text in ("", VERIFIER, PRIVATE[:-4], PRIVATE.replace("c74f", "c74e"), "PRIVATE+KEY+a b+c74f20a3+AAAA", "é"):
        path.write_bytes(text.encode("latin-1"))
        path.chmod(0o600)
        with pytest.raises(KeyFileError):
            read_key(path)


@pytest.mark.parametrize(
    "wrong",
    ["", "PeterNeumann", VERIFIER.replace("c74f", "c74e"), VERIFIER.replace("+ARp", "+BRp"), VERIFIER[:-4]],
)
def test_what_is_no_verifier_key_is_refused(wrong):
    with pytest.raises(NoteError):
        VerifierKey.read(wrong)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\tb", "a\x01b"])
def test_a_name_that_would_break_a_line_names_no_key(name):
    with pytest.raises(NoteError, match="cannot name a key"):
        Signer.generate(name)
