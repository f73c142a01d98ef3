"""The README and the pages under docs/ say what the program does."""

import re
import runpy
import shlex
from pathlib import Path

import pytest
import typer

from es_power.cli import app, main
from es_power.errors import EsPowerError
from tests.acceptance.documents import CHECKOUT, blocks, captured, pages, run

SCRIPTS = ("facts_table.py", "reference_pages.py", "reliability.py", "share_files.py")
GROUPS = {name for name, each in typer.main.get_command(app).commands.items() if hasattr(each, "commands")}


@pytest.fixture(autouse=True)
def _scripts_find_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(CHECKOUT / "scripts")


def _name(page: Path) -> str:
    return str(page.relative_to(CHECKOUT))


@pytest.mark.parametrize("page", pages(), ids=_name)
def test_what_a_page_shows_is_what_is_printed(page: Path, the_log: Path) -> None:
    assert run(page, the_log) == page.read_text(encoding="utf-8"), (
        "run `python -m tests.acceptance.documents` and read the difference"
    )


def test_the_first_screen_of_the_readme_asks_and_answers() -> None:
    lines = (CHECKOUT / "README.md").read_text(encoding="utf-8").splitlines()
    first_screen = "\n".join(lines[:40])

    assert lines[2:5] == ["```sh", "apt-get install -y git make", "```"]
    assert "Why, since when, and was it us?" in first_screen
    assert "$ es-power why web-1" in first_screen
    assert "make demo\nmake test\n" in first_screen


def _typed() -> list[str]:
    """Every es-power command that a page tells to type or shows, as it stands there."""
    found = set()
    for page in pages():
        for block in blocks(page):
            if block.kind in {"sh", "console"}:
                lines = re.findall(r"^(?:\$ )?(?:.*\| )?(es-power [^|;&\n]*)", block.text, re.MULTILINE)
                found |= {line.strip() for line in lines if "OPTIONS" not in line}
    return sorted(found)


@pytest.mark.parametrize("line", _typed())
def test_every_command_of_the_pages_exists_with_its_options(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0].startswith("-"):
        return
    name = [word for word in words[:2] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)][: 2 if words[0] in GROUPS else 1]
    with captured() as out:
        assert main([*name, "--help"]) == 0
    options = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-z].*", word)}

    assert set() == {each for each in options if not re.search(rf"(?<![\w-]){each}(?![\w-])", out.getvalue())}


def test_every_link_between_the_pages_leads_somewhere() -> None:
    others = [CHECKOUT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")]
    dead = [
        f"{_name(page)}: {target}"
        for page in [*pages(), *others]
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        if "://" not in target and not (page.parent / target).exists()
    ]

    assert dead == []


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_generated_reference_is_not_stale(script: str) -> None:
    check = runpy.run_path(str(CHECKOUT / "scripts" / script))["main"]

    assert check(["--check"]) == 0, f"run scripts/{script}"


def test_a_fact_that_means_something_else_makes_the_page_of_facts_stale(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    check = runpy.run_path(str(CHECKOUT / "scripts" / "facts_table.py"))["main"]
    page = tmp_path / "facts.md"
    check(["--folder", str(tmp_path)])
    page.write_text(page.read_text(encoding="utf-8").replace("From `since` on nobody", "From `since` on somebody"))

    assert check(["--check", "--folder", str(tmp_path)]) == 1
    assert "is stale" in capsys.readouterr().err


def test_a_reference_page_that_is_missing_is_stale(tmp_path: Path) -> None:
    check = runpy.run_path(str(CHECKOUT / "scripts" / "reference_pages.py"))["main"]

    assert check(["--check", "--folder", str(tmp_path)]) == 1


def test_every_exit_code_has_its_meaning_on_the_page() -> None:
    known = runpy.run_path(str(CHECKOUT / "scripts" / "reference_pages.py"))["EXIT_CODES"]

    assert {each.exit_code for each in _below(EsPowerError)} <= set(known)


def _below(error: type[EsPowerError]) -> list[type[EsPowerError]]:
    return [error, *(each for child in error.__subclasses__() for each in _below(child))]
