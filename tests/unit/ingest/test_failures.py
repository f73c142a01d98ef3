"""What libvirt's errors mean, and what a person is told to do."""

import errno

import pytest

from es_power.errors import HypervisorDeniedError, HypervisorError, HypervisorUnavailableError
from es_power.ingest.failures import Failure, error_of_call, error_of_open


def _failure(code: int, origin: int, number: int = -1) -> Failure:
    return Failure(code=code, origin=origin, errno=number, text="libvirt's words")


@pytest.mark.parametrize(
    ("failure", "kind", "hint"),
    [
        (_failure(38, 7, errno.ENOENT), HypervisorUnavailableError, "systemctl start libvirtd"),
        (_failure(38, 7, errno.ECONNREFUSED), HypervisorUnavailableError, "systemctl start libvirtd"),
        (_failure(38, 7, errno.EACCES), HypervisorDeniedError, "usermod -aG libvirt"),
        (_failure(38, 7, errno.ECONNRESET), HypervisorUnavailableError, "check that the host answers"),
        (_failure(45, 46), HypervisorDeniedError, "usermod -aG libvirt"),
        (_failure(94, 60), HypervisorDeniedError, "usermod -aG libvirt"),
        (_failure(5, 0), HypervisorError, "this libvirt has no driver 'qemu'"),
        (_failure(1, 45), HypervisorError, "write a URI such as qemu:///system"),
        (_failure(8, 13), HypervisorError, "write a URI such as qemu:///system"),
        (_failure(27, 12), HypervisorError, "is not one it can serve"),
    ],
)
def test_an_open_that_failed_says_what_to_do(failure: Failure, kind: type[HypervisorError], hint: str) -> None:
    error = error_of_open("qemu:///system", failure)

    assert type(error) is kind
    assert str(error).startswith("cannot open qemu:///system: libvirt's words; ")
    assert hint in str(error)


def test_a_call_that_failed_is_unavailable_only_where_the_connection_is_lost() -> None:
    failure = _failure(1, 7)

    assert type(error_of_call("test:///", "list its VMs", failure, alive=True)) is HypervisorError
    lost = error_of_call("test:///", "list its VMs", failure, alive=False)
    assert type(lost) is HypervisorUnavailableError
    assert str(lost) == "test:/// did not list its VMs: libvirt's words"
