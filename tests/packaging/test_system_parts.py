"""What is asked of apt, dnf, zypper and pacman; the stubs stand for a machine where gcc and pkg-config are missing."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import run

Stub = Callable[[str, str], Path]
System = Callable[..., "subprocess.CompletedProcess[str]"]

#: Makes environments at once, and knows where the headers of the real one are.
PYTHON = f"""case "$*" in
    *_base_executable*) echo "$0" ;;
    *get_path*) exec {sys.executable} "$@" ;;
esac"""

FAMILIES = {
    "debian": (
        "ID=debian",
        r"apt-get install -y --no-install-recommends python3-dev gcc libc6-dev pkg-config libvirt-dev",
    ),
    "mint": ('ID=linuxmint\nID_LIKE="ubuntu debian"', r"apt-get install -y .* pkg-config libvirt-dev"),
    "fedora": ("ID=fedora", r"dnf install -y python3-devel gcc glibc-devel pkgconf-pkg-config libvirt-devel"),
    "rocky": ('ID="rocky"\nID_LIKE="rhel centos fedora"', r"dnf install -y .* libvirt-devel"),
    "leap": (
        'ID="opensuse-leap"\nID_LIKE="suse opensuse"',
        r"zypper --non-interactive install python3-devel gcc glibc-devel pkgconf-pkg-config libvirt-devel",
    ),
    "arch": ("ID=arch", r"pacman -S --needed --noconfirm python gcc glibc pkgconf libvirt"),
    "other": ("ID=plan9", r"your package manager must bring headers compiler libc pkgconfig libvirt"),
}


@pytest.fixture
def system(checkout: Path, tmp_path: Path, stub: Stub) -> System:
    """Run scripts/setup/system on a machine of the given family, as the user of that number."""
    python = stub("python3", PYTHON)
    stub("gcc", "exit 1")
    stub("uname", "echo riscv64")  # where no guest is built
    stubs = stub("pkg-config", "exit 1").parent

    def answer(*words: str, family: str, user: int = 1000, **environment: str) -> "subprocess.CompletedProcess[str]":
        stub("id", f"echo {user}")
        release = tmp_path / "os-release"
        release.write_text(FAMILIES[family][0] + "\n")
        inherited = {name: value for name, value in os.environ.items() if name != "ES_POWER_NO_INSTALL"}
        settings = {
            "PATH": f"{stubs}{os.pathsep}{os.environ['PATH']}",
            "PYTHON": str(python),
            "ES_POWER_OS_RELEASE": str(release),
        }
        return run(checkout / "scripts/setup/system", *words, env=inherited | settings | environment)

    return answer


@pytest.mark.parametrize("family", FAMILIES)
def test_a_user_gets_the_one_line_of_the_family(system: System, family: str) -> None:
    done = system("need", "demo", family=family)

    command = FAMILIES[family][1]
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(rf"es_power needs .*: run '.*{command}' as root, then the same command again\n", done.stderr)


def test_root_installs_what_is_missing_and_goes_on(system: System, stub: Stub, tmp_path: Path) -> None:
    calls, stubs = tmp_path / "calls", tmp_path / "stubs"
    stub("dnf", f'echo "$@" >>{calls}; rm {stubs}/gcc {stubs}/pkg-config')

    done = system("need", "demo", family="fedora", user=0)

    assert re.match(r"install -y python3-devel gcc glibc-devel", calls.read_text())
    assert done.stdout.startswith("setup: installing ")
    assert done.returncode == 0


def test_an_install_that_fails_shows_its_output_and_the_one_line(system: System, stub: Stub) -> None:
    stub("dnf", "echo no mirror answers; exit 1")

    done = system("need", "demo", family="fedora", user=0)

    assert done.returncode == 1
    assert done.stderr.startswith("no mirror answers\nes_power needs ")


def test_a_part_that_is_still_unusable_after_the_install_stops_the_set_up(system: System, stub: Stub) -> None:
    stub("dnf", "exit 0")

    done = system("need", "demo", family="fedora", user=0)

    assert (done.returncode, done.stderr.count("\n")) == (1, 1)


@pytest.mark.parametrize(("user", "setting"), [(1000, ""), (0, "1")])
def test_nothing_is_installed_by_a_user_or_where_it_is_forbidden(
    system: System, stub: Stub, tmp_path: Path, user: int, setting: str
) -> None:
    called = tmp_path / "called"
    for program in ("dnf", "apt-get", "sudo"):
        stub(program, f"touch {called}")

    done = system("need", "demo", family="fedora", user=user, ES_POWER_NO_INSTALL=setting)

    assert done.returncode == 1
    assert not called.exists()


def test_missing_parts_of_the_real_suites_let_a_user_go_on_and_are_told_in_the_last_line(
    system: System, stub: Stub
) -> None:
    stub("libvirtd", "exit 127")
    stub("strace", "exit 127")

    wanted = system("want", "test", family="debian")
    lacking = system("lack", "test", family="debian")

    assert (wanted.returncode, wanted.stdout, wanted.stderr) == (0, "", "")
    assert lacking.returncode == 0
    told = r"Not run: the suites that need libvirtd, .*strace.*; '.*apt-get install .*' as root adds them\n"
    assert re.fullmatch(told, lacking.stdout)


def test_a_daemon_is_installed_by_itself_only_where_it_can_be_kept_from_starting(
    system: System, stub: Stub, tmp_path: Path
) -> None:
    called = tmp_path / "called"
    stub("dnf", f"touch {called}")
    stub("libvirtd", "exit 127")

    done = system("want", "test", family="fedora", user=0)

    assert done.returncode == 0
    assert not called.exists()


def test_the_parts_of_a_real_nova_are_asked_for_apart(system: System, stub: Stub) -> None:
    stub("mariadbd", "exit 127")

    nova = system("lack", "nova", family="debian")
    others = system("lack", "test", family="debian")

    assert re.fullmatch(r"Not run: .* mariadbd.*; '.*apt-get install .* mariadb-server-core.*' as root adds them\n",
                        nova.stdout)  # fmt: skip
    assert "mariadb" not in others.stdout


@pytest.mark.parametrize(("theirs", "asked"), [("18.20.4+dfsg-1~deb12u2", False), ("20.19.2+dfsg-1", True)])
def test_a_release_whose_node_is_too_old_is_not_asked_for_a_browser(
    system: System, stub: Stub, theirs: str, asked: bool
) -> None:
    stub("node", "exit 1")
    stub("apt-cache", f"echo '  Candidate: {theirs}'")

    tests = system("lack", "test", family="debian")
    page = system("need", "web", family="debian")

    assert ("nodejs" in tests.stdout) == asked
    assert re.fullmatch(r"es_power needs nodejs.*: run '.*' as root, .*\n", page.stderr)
