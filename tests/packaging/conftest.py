import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def checkout() -> Path:
    return ROOT


@pytest.fixture
def stub(tmp_path: Path) -> Callable[[str, str], Path]:
    """Put a program of our own on the front of the path: ``stub(name, shell text)``."""
    folder = tmp_path / "stubs"
    folder.mkdir()

    def add(name: str, text: str) -> Path:
        program = folder / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
        return program

    return add


def run(*command: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, **options)
