"""What systemd itself says of the units, where it is installed."""

import re
import shutil
from pathlib import Path

import pytest

from tests.packaging.conftest import run

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")


@pytest.fixture(params=["es-power.service", "es-power-act.service"])
def unit(request: pytest.FixtureRequest, checkout: Path, tmp_path: Path) -> Path:
    """The unit with a command that exists here: systemd wants to see it."""
    text = (checkout / "contrib/systemd" / request.param).read_text()
    copy = tmp_path / request.param
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", text, flags=re.MULTILINE))
    return copy


def test_systemd_finds_nothing_wrong_with_the_unit(unit: Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", unit)

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_among_the_well_hardened(unit: Path) -> None:
    done = run("systemd-analyze", "security", "--offline=yes", "--threshold=15", unit)

    assert done.returncode == 0, done.stdout


def test_a_mistake_in_the_unit_would_be_found(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("Type=notify", "Typo=notify"))

    done = run("systemd-analyze", "verify", "--man=no", unit)

    assert "Typo" in done.stderr
