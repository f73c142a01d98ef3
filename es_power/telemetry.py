"""What the service says of itself while it runs: log lines as data, and word to the service manager."""

import logging
import os
import socket
import sys
from typing import Final

import structlog
import trio

_NEVER_BELOW: Final = 1.0
"""Seconds between two signs of life, at least."""


def configure_logging(*, verbose: bool = False) -> None:
    """Log to standard error: readable on a terminal, one JSON object a line elsewhere."""
    readable = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if readable else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if verbose else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def tell_service_manager(state: str) -> None:
    """Send one message of sd_notify(3), such as ``READY=1``; nothing where no service manager listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        # A name that begins with @ is in the abstract namespace.
        manager.connect("\0" + address[1:] if address.startswith("@") else address)
        manager.sendall(state.encode())


async def keep_watchdog() -> None:
    """Tell the service manager, twice in each watchdog interval, that trio still runs (sd_watchdog_enabled(3))."""
    interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 1_000_000
    if not interval:
        return
    while True:
        tell_service_manager("WATCHDOG=1")
        await trio.sleep(max(interval / 2, _NEVER_BELOW))
