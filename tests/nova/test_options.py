"""The options that our documents name are Nova's: read from the Nova that is installed, not from memory."""

import json
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest

from tests.nova.services import BINARIES, missing_parts

pytestmark = pytest.mark.nova

_QUESTION = """
import json
from nova.conf import compute, workarounds
print(json.dumps({
    f"[{getattr(group, 'name', group)}]{option.name}": [option.default, " ".join(option.help.split())]
    for module in (compute, workarounds) for group, options in module.list_opts().items() for option in options
}, default=str))
"""


@pytest.fixture(scope="module")
def options() -> Mapping[str, Any]:
    """Nova's options by group and name, each with its default and its help."""
    if reason := missing_parts():
        pytest.skip(reason)
    command = [BINARIES / "python", "-W", "ignore", "-c", _QUESTION]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: Mapping[str, Any] = json.loads(answer.stdout)
    return found


def test_a_negative_spacing_switches_nova_s_own_power_sync_off(options: Mapping[str, Any]) -> None:
    default, words = options["[DEFAULT]sync_power_state_interval"]

    assert default == 600
    assert "negative" in words


def test_a_workaround_switches_nova_s_lifecycle_events_off(options: Mapping[str, Any]) -> None:
    default, words = options["[workarounds]handle_virt_lifecycle_events"]

    assert default is True
    assert "sync_power_state_interval" in words
