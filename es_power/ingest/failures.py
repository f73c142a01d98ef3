"""What a libvirt error means for us, and what a person can do about it.

libvirt gives an error a code (virErrorNumber), the part it came from (virErrorDomain), an errno where a system call
failed, and a text. Code 1 from the RPC layer is "client socket is closed" as well as "too many domains": on an open
connection it is not the code that tells whether anybody is there, but whether the connection still lives.
"""

import errno
from dataclasses import dataclass
from typing import Final

from es_power.errors import HypervisorDeniedError, HypervisorError, HypervisorUnavailableError
from es_power.ingest.naming import driver_of

#: virErrorNumber
NO_SUPPORT: Final = 3
NO_DOMAIN: Final = 42
_NO_CONNECT: Final = 5
_INVALID_ARG: Final = 8
_AUTH_FAILED: Final = 45
_AUTH_CANCELLED: Final = 79
_AUTH_UNAVAILABLE: Final = 94
_OPERATION_DENIED: Final = 29
_ACCESS_DENIED: Final = 88
#: virErrorDomain
_FROM_RPC: Final = 7
_FROM_REMOTE: Final = 13
_FROM_URI: Final = 45

_NOBODY_LISTENS: Final = frozenset({errno.ENOENT, errno.ECONNREFUSED})
_NOT_ALLOWED: Final = frozenset({errno.EACCES, errno.EPERM})

LET_IN: Final = "add the user to the group libvirt (usermod -aG libvirt USER, then log in again), or run as root"
"""What to do where libvirt lets a user not in, or not do something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A libvirtError as plain data."""

    code: int
    origin: int
    #: The system call's error number, or something without meaning where none failed.
    errno: int
    text: str


def error_of_open(uri: str, failure: Failure) -> HypervisorError:
    """The error of an open that failed: unavailable where trying again may help, and in any case what to do."""
    hint = _permanent(uri, failure)
    if hint is not None:
        return HypervisorError(f"cannot open {uri}: {failure.text}; {hint}")
    kind = HypervisorDeniedError if is_denial(failure) else HypervisorUnavailableError
    return kind(f"cannot open {uri}: {failure.text}; {_passing(failure)}")


def is_denial(failure: Failure) -> bool:
    """Whether this user may not do it, over this connection."""
    return failure.code in _DENIALS or (failure.origin == _FROM_RPC and failure.errno in _NOT_ALLOWED)


def _permanent(uri: str, failure: Failure) -> str | None:
    if failure.code == _NO_CONNECT:
        return f"this libvirt has no driver {driver_of(uri)!r}; qemu:///system is the usual URI of a KVM host"
    if failure.origin == _FROM_URI or (failure.code, failure.origin) == (_INVALID_ARG, _FROM_REMOTE):
        return "write a URI such as qemu:///system or qemu+ssh://root@host/system"
    if failure.origin not in (_FROM_RPC, _FROM_REMOTE) and failure.code not in _AUTHENTICATION:
        return "libvirt answered, and refused: the URI's path or file is not one it can serve"
    return None


_AUTHENTICATION: Final = frozenset({_AUTH_FAILED, _AUTH_CANCELLED, _AUTH_UNAVAILABLE})
_DENIALS: Final = _AUTHENTICATION | {_OPERATION_DENIED, _ACCESS_DENIED}


def _passing(failure: Failure) -> str:
    if is_denial(failure):
        return LET_IN
    if failure.origin == _FROM_RPC and failure.errno in _NOBODY_LISTENS:
        return "is libvirtd running there? (systemctl start libvirtd)"
    return "check that the host answers and that its libvirtd runs"


def error_of_call(uri: str, asked: str, failure: Failure, *, alive: bool) -> HypervisorError:
    """The error of a call that failed: unavailable where the connection is lost."""
    kind = HypervisorError if alive else HypervisorUnavailableError
    return kind(f"{uri} did not {asked}: {failure.text}")
