"""What a package puts under /usr/share, tried by the programs that read it: man, and the shells that are here."""

import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import typer

from es_power.cli import app
from tests.packaging.conftest import run


def needs(program: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(program) is None, reason=f"{program} is not installed")


@pytest.fixture
def share(checkout: Path) -> Path:
    return checkout / "contrib/share"


@pytest.fixture
def path(tmp_path: Path, checkout: Path) -> str:
    """A PATH with an es-power of this checkout."""
    program = tmp_path / "es-power"
    program.write_text(f'#!/bin/sh\nPYTHONPATH={checkout} exec {sys.executable} -m es_power "$@"\n')
    program.chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@needs("groff")
def test_the_man_page_has_no_mistake_that_groff_warns_of(share: Path) -> None:
    done = run("groff", "-man", "-Tutf8", "-ww", share / "man/man1/es-power.1")

    assert (done.returncode, done.stderr) == (0, "")


@needs("groff")
def test_the_man_page_tells_of_every_command(share: Path) -> None:
    printed = run("groff", "-man", "-Tutf8", share / "man/man1/es-power.1").stdout
    # Bold is struck twice, or in colours.
    shown = re.sub(r".\x08|\x1b\[[0-9;]*m", "", printed)
    titles = re.findall(r"^ {3}(\S.*)$", shown, re.MULTILINE)
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    words = [f"{name} {below}".strip() for name, each in groups.items() for below in getattr(each, "commands", [""])]

    assert [each for each in words if not any(f"{title} ".startswith(f"{each} ") for title in titles)] == []
    assert {"NAME", "SYNOPSIS", "EXIT STATUS", "ENVIRONMENT", "FILES"} <= set(shown.splitlines())


@needs("bash")
def test_bash_completes_commands_and_options(share: Path, path: str) -> None:
    script = share / "bash-completion/completions/es-power"

    def completed(*words: str) -> list[str]:
        line = " ".join(f"'{word}'" for word in words)
        program = (
            f"source {script}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; "
            'complete -p es-power >/dev/null || exit 1; _es_power_completion es-power; printf "%s\\n" "${COMPREPLY[@]}"'
        )
        done = run("bash", "--norc", "-c", program, env=os.environ | {"PATH": path})
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout.split()

    assert completed("es-power", "time") == ["timeline"]
    assert set(completed("es-power", "audit", "")) >= {"keygen", "checkpoint", "verify", "proof", "export"}
    assert completed("es-power", "timeline", "--last") == ["--last-report-wins"]


@needs("zsh")
def test_zsh_takes_the_completion_for_a_function(share: Path, path: str) -> None:
    program = f"fpath=({share}/zsh/site-functions $fpath); autoload -Uz _es-power; autoload +X _es-power"

    assert run("zsh", "-f", "-c", program, env=os.environ | {"PATH": path}).returncode == 0


@needs("fish")
def test_fish_completes_commands(share: Path, path: str) -> None:
    program = f"source {share}/fish/vendor_completions.d/es-power.fish; complete -C 'es-power time'"
    done = run("fish", "--no-config", "-c", program, env=os.environ | {"PATH": path})

    assert "timeline" in done.stdout
