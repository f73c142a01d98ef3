"""``python -m benchmarks [NAME ...] [--quick] [--write] [--strict]``: measure, print, write docs/benchmarks.md."""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from time import perf_counter

from benchmarks.figures import Figure
from benchmarks.report import PAGE, table, written

NAMES = (
    *("append", "latency", "replay", "rebuild", "storage", "sweep", "memory", "questions", "following", "audit"),
    "page",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; with --strict, 4 where a target was missed: a busy machine misses some."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which of {', '.join(NAMES)}; all unless told")
    parser.add_argument("--quick", action="store_true", help="the tiniest sizes, to see that everything runs")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE}")
    parser.add_argument("--strict", action="store_true", help="end with 4 where a target was missed")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"there is no benchmark called {', '.join(sorted(unknown))}; there are {', '.join(NAMES)}")
    figures: list[Figure] = []
    for name in options.names or NAMES:
        begin = perf_counter()
        figures += import_module(f"benchmarks.{name}").measure(quick=options.quick)
        print(f"{name}: {perf_counter() - begin:.0f} s", file=sys.stderr)
    print(table(figures))
    if options.write:
        PAGE.write_text(written(PAGE.read_text(), figures))
    return 4 if options.strict and not all(figure.met for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
