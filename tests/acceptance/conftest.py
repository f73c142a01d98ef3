"""That night's log, written once for all who ask it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance import documents


@pytest.fixture(scope="session")
def the_log() -> Iterator[Path]:
    with documents.the_log() as log:
        yield log
