"""Replay a log from a checkout: `es-power replay` with the same options, and the same function behind it.

.venv/bin/python scripts/replay.py --log PATH|URL [--until POSITION|TIME] [--policy P] [--rebuild] [--verify]
"""

import sys

from es_power.cli import main

if __name__ == "__main__":
    sys.exit(main(["replay", *sys.argv[1:]]))
