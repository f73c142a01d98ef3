from collections.abc import Iterator

import pytest

from tests.postgres import Cluster, cluster, missing


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    if reason := missing():
        pytest.skip(reason)
    with cluster() as running:
        yield running
