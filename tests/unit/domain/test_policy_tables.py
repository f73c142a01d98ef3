"""The pages of the decision tables, and of the causes, are what the code says."""

import runpy
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[3] / "scripts"
SCRIPT = SCRIPTS / "policy_tables.py"


@pytest.fixture(name="main")
def _main(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    return runpy.run_path(str(SCRIPT))["main"]


def test_the_page_of_the_policies_is_not_stale(main):
    assert main(["--check"]) == 0, "run scripts/policy_tables.py"


def test_the_page_of_the_causes_is_not_stale(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPTS)
    causes = runpy.run_path(str(SCRIPTS / "cause_table.py"))["main"]

    assert causes(["--check"]) == 0, "run scripts/cause_table.py"


def test_a_page_that_another_table_wrote_is_found_stale(main, tmp_path, capsys):
    page = tmp_path / "policies.md"
    main(["--folder", str(tmp_path)])
    page.write_text(page.read_text().replace("stop (e)", "leave"))

    assert main(["--check", "--folder", str(tmp_path)]) == 1
    assert "is stale" in capsys.readouterr().err


def test_a_missing_page_is_stale(main, tmp_path):
    assert main(["--check", "--folder", str(tmp_path)]) == 1


def test_a_page_just_written_is_not_stale(main, tmp_path):
    assert main(["--folder", str(tmp_path)]) == 0
    assert main(["--check", "--folder", str(tmp_path)]) == 0
