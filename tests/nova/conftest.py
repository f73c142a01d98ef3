"""Fixtures for tests beside a real Nova (``make test-nova``).

``nova`` is the rig (`tests.nova.rig.NovaRig`), one for the whole run since its start takes most of a minute: a test
that breaks a service mends it, and boots servers of its own. ``server`` is one such, ACTIVE, deleted afterwards.
"""

from collections.abc import Callable, Iterator

import pytest

from tests.nova.rig import NovaRig, nova_rig
from tests.nova.services import missing_parts


@pytest.fixture(scope="session")
def nova() -> Iterator[NovaRig]:
    """A real Nova whose own power sync is off."""
    if reason := missing_parts():
        pytest.skip(reason)
    with nova_rig() as running:
        yield running


@pytest.fixture
def boot(nova: NovaRig) -> Iterator[Callable[..., list[str]]]:
    """Boot servers by name, and delete them after the test."""
    booted: list[str] = []

    def boot(*names: str) -> list[str]:
        made = nova.boot(*names)
        booted.extend(made)
        return made

    yield boot
    nova.start_api()
    for uuid in booted:
        nova.delete(uuid)


@pytest.fixture
def server(boot: Callable[..., list[str]]) -> str:
    """The UUID of a new server, which is ACTIVE."""
    (uuid,) = boot("vm")
    return uuid
