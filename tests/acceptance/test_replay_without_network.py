"""A replay needs nobody: it runs with the network cut off, on a log with commands in every state."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tests.acceptance.program import PROGRAM, environment
from tests.unit.tale import every_state

CUT_OFF = ("unshare", "--net")
CONNECT = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1])), 5)"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0:
        pytest.skip("only root cuts a program off from the network")
    tried = subprocess.run([*CUT_OFF, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        pytest.skip(f"no network namespace can be made here: {tried.stderr.strip()}")
    return trio.run(every_state().write, tmp_path_factory.mktemp("log") / "log.db")


def test_a_program_that_is_cut_off_reaches_nobody() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        reached, cut = (
            subprocess.run([*before, sys.executable, "-c", CONNECT, port], capture_output=True, text=True, check=False)
            for before in ((), CUT_OFF)
        )

    assert (reached.returncode, cut.returncode) == (0, 1)
    assert "OSError" in cut.stderr


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), 0),
        (("--verify",), 0),
        (("--policy", "nova-2026"), 0),
        (("--policy", "nova-2013", "--against", "follow"), 4),
        (("--against", "nova"), 4),
    ],
    ids=str,
)
def test_a_replay_says_the_same_with_the_network_cut_off(log: Path, options: tuple[str, ...], code: int) -> None:
    before = log.read_bytes()
    usual, cut = (
        subprocess.run(
            [*how, *PROGRAM, "replay", *options, "--log", str(log), "-o", "json"],
            env=environment(log.parent),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        for how in ((), CUT_OFF)
    )

    assert (cut.returncode, cut.stdout, cut.stderr) == (usual.returncode, usual.stdout, usual.stderr)
    assert cut.returncode == code, cut.stderr
    assert log.read_bytes() == before
