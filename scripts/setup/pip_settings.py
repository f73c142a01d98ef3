"""Carry what pip is told on this machine into another root.

Writes the merged settings (files and environment) as one file, and prints the paths they name, which the other root
needs too. Run with the interpreter whose pip is meant: ``python pip_settings.py FILE``.
"""

import ast
import configparser
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit


def read_settings() -> dict[str, str]:
    """Ask pip for its settings: what the environment says wins over the files, as it does in pip."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    listing = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    entries = [line.split("=", 1) for line in listing.splitlines() if "=" in line]
    from_environment_last = sorted(entries, key=lambda entry: entry[0].startswith(":env:"))
    return {name.rpartition(".")[2]: str(ast.literal_eval(value)) for name, value in from_environment_last}


def local_paths(settings: Mapping[str, str]) -> Iterator[Path]:
    """Give the files and folders that the settings name; of an index its parent, where the files it links to are."""
    for name, value in settings.items():
        for word in value.split():
            path = Path(urlsplit(word).path if word.startswith("file://") else word)
            if path.is_absolute() and path.exists():
                yield path.parent if name.endswith("index-url") else path


def main(target: Path) -> None:
    """Write the settings to ``target`` and print one path a line."""
    settings = read_settings()
    file = configparser.RawConfigParser()
    file["global"] = settings
    with target.open("w") as stream:
        file.write(stream)
    for path in sorted(set(local_paths(settings))):
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
