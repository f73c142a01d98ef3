"""What a connection URI says of the host it leads to: ``driver[+transport]://[user@][host][:port]/path``."""

from typing import Final
from urllib.parse import urlsplit

_LOCAL_TRANSPORTS: Final = frozenset({"", "unix"})


def driver_of(uri: str) -> str:
    """Name the driver of a URI, which with the host names its stream: ``qemu``, ``qemu-session``, ``test``.

    The transport is left out, since it only says how the host is reached. The path is kept for the drivers whose
    path chooses another set of VMs on the same host: a session's are not the system's.
    """
    parts = urlsplit(uri)
    driver = parts.scheme.partition("+")[0]
    if parts.path in ("/session", "/embed"):
        return f"{driver}-{parts.path[1:]}"
    return driver


def is_local(uri: str) -> bool:
    """Whether a URI leads to this machine's own libvirt, so that its boot id is ours."""
    parts = urlsplit(uri)
    return not parts.netloc and parts.scheme.partition("+")[2] in _LOCAL_TRANSPORTS


def without_user(uri: str) -> str:
    """Give a URI as it is recorded: who logs in over there may be a person's name, and a fact is for ever."""
    parts = urlsplit(uri)
    return uri.replace(f"//{parts.netloc}", f"//{parts.netloc.rpartition('@')[2]}", 1)
