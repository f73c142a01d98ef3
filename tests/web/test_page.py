"""The page in a real browser, on a real service and a real libvirtd; the steps are in `web/e2e/steps`.

A step fails, too, where the page broke its Content-Security-Policy, complained, or asked another origin meanwhile.
"""

from collections.abc import Iterator

import pytest

from tests.rigs import libvirtd
from tests.web.browser import Browser, browser, missing_parts, names
from tests.web.world import world

pytestmark = pytest.mark.libvirt


@pytest.fixture(scope="module")
def visitor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if reason := missing_parts() or libvirtd.missing_parts():
        pytest.skip(reason)
    with world(tmp_path_factory.mktemp("web")) as served, browser(served) as found:
        yield found


@pytest.mark.parametrize("step", names(), ids=str)
def test_a_visitor_finds_that(visitor: Browser, step: str) -> None:
    visitor.take(step)
