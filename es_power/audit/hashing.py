"""Many subtrees, hashed by a process of its own.

To hash a few bytes, Python keeps the lock under which all its threads run. So a seal of a million records would take
its second from whoever records meanwhile, on a machine with ten processors too.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from subprocess import PIPE, Popen
from typing import Final

from es_power.audit import tree
from es_power.audit.tree import STEP, Roots, block_roots, split_up

WORTH: Final = 1 << 14
"""Records from which on a process is begun: it takes as long to begin as to hash so many."""


@contextmanager
def hashed_beside(records: int) -> Iterator[Roots]:
    """Give what hashes whole subtrees for as long as the block lasts; for a few records, in this process.

    It is asked at once and answers later, in the order of the questions.
    """
    if records < WORTH or not sys.executable:
        yield block_roots
        return
    try:
        # In a group of its own, a Ctrl-C at the terminal is not its matter; it ends with its input.
        process = Popen([sys.executable, "-I", "-S", tree.__file__], stdin=PIPE, stdout=PIPE, process_group=0)
    except OSError:
        yield block_roots
        return
    with process:
        assert process.stdin
        try:
            yield partial(_ask, process)
        finally:
            process.kill()
            with suppress(OSError):  # of one that was gone before, what it was to be told may still stand there
                process.stdin.close()


def _ask(process: Popen[bytes], hashes: bytes) -> Iterator[bytes]:
    """Have it hash these; where it is gone, whoever asks does it."""
    assert process.stdin
    with suppress(OSError):
        process.stdin.write(len(hashes).to_bytes(4, "big") + hashes)
        process.stdin.flush()
    return _answer(process, hashes)


def _answer(process: Popen[bytes], hashes: bytes) -> Iterator[bytes]:
    assert process.stdout
    answer = b""
    with suppress(OSError):
        answer = process.stdout.read(len(hashes) >> STEP)
    yield from split_up(answer) if len(answer) << STEP == len(hashes) else block_roots(hashes)
