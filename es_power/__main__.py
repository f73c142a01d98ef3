"""`es-power`, also as `python -m es_power`, begins here.

To load the rest takes a second, in which nothing is there yet to be ended in good order: Ctrl-C ends it at once.
"""

import os
import signal
import sys
from types import FrameType

__all__ = ["main"]

_INTERRUPTED = 128 + signal.SIGINT  # as a shell says it


def main() -> int:
    """Load the command line and run one command; give its exit code."""
    # Whoever starts this in the background may have it deaf to Ctrl-C: then it stays so.
    hears = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if hears:
        signal.signal(signal.SIGINT, _end)
    from es_power.cli import main as run  # noqa: PLC0415

    if hears:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return run()


def _end(number: int, frame: FrameType | None) -> None:
    """End the process: an exception would come out of whatever is imported then, with its traceback."""
    del number, frame
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())
