"""Who this process is, for people: where it runs, and which version it is."""

import os
import socket
from importlib.metadata import PackageNotFoundError, version


def holder() -> str:
    """Say who this service is: host name and process."""
    return f"{socket.gethostname()}, process {os.getpid()}"


def package_version() -> str:
    """The version of es_power that runs."""
    try:
        return version("es-power")
    except PackageNotFoundError:
        return "unknown"
