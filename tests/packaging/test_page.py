"""The page as it is shipped: small, whole, of nobody else's origin, and with the licences of what is in it."""

import gzip
import json
import re
from hashlib import sha256
from pathlib import Path

import pytest

from es_power.domain.decisions import CommandEvent
from es_power.domain.events import HypervisorEvent

MOST = 60_000
"""Bytes that a browser loads, compressed."""


@pytest.fixture
def static(checkout: Path) -> Path:
    return checkout / "es_power/web/static"


@pytest.fixture
def web(checkout: Path) -> Path:
    return checkout / "web"


def test_what_a_browser_loads_is_small(static: Path) -> None:
    loaded = [each for each in static.iterdir() if each.suffix != ".txt"]

    assert sum(len(gzip.compress(each.read_bytes())) for each in loaded) <= MOST


def test_the_page_names_each_of_its_files_by_its_content(static: Path) -> None:
    index = (static / "index.html").read_text()
    named = re.findall(r'(?:href|src)="/assets/([^"]+)"', index)

    assert sorted(named) == sorted(each.name for each in static.iterdir() if "-" in each.name)
    for name in named:
        digest = sha256((static / name).read_bytes()).hexdigest()
        assert name.partition("-")[2].partition(".")[0] == digest[:12]


def test_the_page_has_no_script_and_no_style_of_its_own_and_asks_no_other_origin(static: Path) -> None:
    index = (static / "index.html").read_text()
    [script] = [each.read_text() for each in static.glob("*.js")]
    [style] = [each.read_text() for each in static.glob("*.css")]

    assert re.findall(r"<script[^>]*>[^<]|<style|style=|\son\w+=", index) == []
    # Names of kinds of elements, which nobody asks for.
    assert set(re.findall(r"https?://[^\"'`\s)]+", index + script + style)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
    }
    assert re.findall(r"url\(|@import|@font-face", style) == []
    assert re.findall(r"\beval\(|new Function\(|innerHTML=`", script) == []


def test_the_licences_of_all_that_is_in_the_page_are_there(static: Path, web: Path) -> None:
    said = (static / "THIRD_PARTY_LICENSES.txt").read_text()
    lock = json.loads((web / "package-lock.json").read_text())["packages"]
    shipped = {
        path.removeprefix("node_modules/"): entry for path, entry in lock.items() if path and not entry.get("dev")
    }

    assert shipped.keys() == {"@preact/signals", "@preact/signals-core", "htm", "preact", "uplot"}
    for name, entry in shipped.items():
        assert f"\n{name} {entry['version']} ({entry['license']})\n" in said
    assert said.count("Permission is hereby granted") + said.count("Apache License\n") == len(shipped)


def test_the_lock_has_hashes_and_no_addresses(web: Path) -> None:
    lock = json.loads((web / "package-lock.json").read_text())["packages"]
    packages = {path: entry for path, entry in lock.items() if path}

    assert [path for path, entry in packages.items() if not entry["integrity"].startswith("sha512-")] == []
    assert [path for path, entry in packages.items() if "resolved" in entry] == []
    manifest = json.loads((web / "package.json").read_text())
    versions = {**manifest["dependencies"], **manifest["devDependencies"]}
    assert [name for name, version in versions.items() if not version[0].isdigit()] == []


def test_the_page_has_a_sign_for_whatever_libvirt_tells_and_for_each_step_of_a_command(web: Path) -> None:
    rows = re.findall(r"\[/(\^.+)/, '.', '(\w+)'\]", (web / "src/parts/events.ts").read_text())
    kinds = {
        each.__name__: sign
        for base, sign in ((HypervisorEvent, "event"), (CommandEvent, "command"))
        for each in base.__subclasses__()
    }

    assert len(kinds) > 15
    assert kinds == {kind: next((sign for signs, sign in rows if re.match(signs, kind)), "") for kind in kinds}
