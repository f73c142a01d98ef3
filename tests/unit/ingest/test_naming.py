"""What a URI says."""

import pytest

from es_power.ingest.naming import driver_of, is_local, without_user


@pytest.mark.parametrize(
    ("uri", "driver", "local"),
    [
        ("qemu:///system", "qemu", True),
        ("qemu:///session", "qemu-session", True),
        ("qemu:///embed?root=/srv/vms", "qemu-embed", True),
        ("qemu+unix:///session?socket=/run/user/1000/sock", "qemu-session", True),
        ("qemu+ssh://root@kvm-07/system", "qemu", False),
        ("qemu+tcp://127.0.0.1:16509/system", "qemu", False),
        ("qemu+tls://kvm-07/session", "qemu-session", False),
        ("qemu+ssh:///system", "qemu", False),
        ("test:///default", "test", True),
        ("test:///srv/host.xml", "test", True),
        ("test+unix:///default?socket=/run/sock", "test", True),
        ("lxc:///", "lxc", True),
    ],
)
def test_a_uri_names_its_driver_and_whose_machine_it_is(uri: str, driver: str, local: bool) -> None:
    assert (driver_of(uri), is_local(uri)) == (driver, local)


@pytest.mark.parametrize(
    ("uri", "recorded"),
    [
        ("qemu+ssh://alice@kvm-07:2222/system?keyfile=/k", "qemu+ssh://kvm-07:2222/system?keyfile=/k"),
        ("qemu+ssh://kvm-07/system", "qemu+ssh://kvm-07/system"),
        ("test:///default", "test:///default"),
    ],
)
def test_a_uri_is_recorded_without_the_user(uri: str, recorded: str) -> None:
    assert without_user(uri) == recorded
