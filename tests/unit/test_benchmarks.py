"""Every benchmark runs, at the tiniest size; nothing is asserted of its time."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.__main__ import NAMES, main
from benchmarks.figures import Figure, at_least, at_most
from tests.rigs.libvirtd import missing_parts
from tests.web import browser


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs_and_prints_its_figures(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    if name in {"latency", "sweep"} and (reason := missing_parts()):
        pytest.skip(reason)
    if name == "page" and (reason := browser.missing_parts()):
        pytest.skip(reason)

    assert main([name, "--quick"]) == 0
    assert "one run" in capsys.readouterr().out


def test_the_page_keeps_what_people_wrote_around_the_figures(tmp_path: Path) -> None:
    figure = Figure(name="Speed", target=at_least(3), seen=[2.0, 3.0, 4.0], detail="of something")

    page = report.written(report.PAGE.read_text(), [figure])

    assert "| Speed<br>of something | ≥ 3 x | 3.00 x | 2.00 x to 4.00 x | met |" in page
    assert page.startswith(report.PAGE.read_text().partition("<!--")[0])
    assert report.written(page, [figure]) == page


def test_a_target_is_met_by_the_median() -> None:
    assert Figure(name="", target=at_least(3), seen=[1.0, 3.0, 9.0], detail="").met
    assert not Figure(name="", target=at_most(3), seen=[1.0, 3.5, 9.0], detail="").met


def test_a_benchmark_that_does_not_exist_is_a_mistake_of_the_command_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["speed"])

    assert "no benchmark called speed; there are append, " in capsys.readouterr().err
