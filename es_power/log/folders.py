"""Files, folders and their names: those that are there after a power cut too, and two of one file."""

import os
from pathlib import Path
from typing import Final

ASIDE: Final = ".replaced-"
"""Stands between the name of a log and the time at which a restore kept it aside."""

STAGED: Final = ".restoring"
"""Ends the name of the directory beside a log in which a restore prepares the new one."""


def sync(path: Path) -> None:
    """Have a file, or a directory's names, on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make a directory where there is none, with those above it, and have their names on disk.

    SQLite does the same for the names of its own files, but not for the directory that they are in.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync(each.parent)


def is_one_file(path: Path, other: Path) -> bool:
    """Say whether two names are those of one file that is there."""
    return path.exists() and other.exists() and path.samefile(other)
