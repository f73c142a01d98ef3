"""XML of VMs: for the test driver's file, and for real guests."""

import struct
from collections.abc import Iterable
from pathlib import Path
from uuid import UUID, uuid4
from xml.sax.saxutils import escape

from tests.rigs.guest import Guest

_TEST_NAMESPACE = "http://libvirt.org/schemas/domain/test/1.0"


def fake_vm(name: str, *, uuid: UUID | None = None, run_state: int = 1) -> str:
    """A VM of the test driver; `run_state` is a virDomainState (1 running, 3 paused, 5 shut off)."""
    return (
        f"<domain type='test' xmlns:test='{_TEST_NAMESPACE}'><name>{escape(name)}</name><uuid>{uuid or uuid4()}</uuid>"
        f"<memory>1024</memory><os><type>hvm</type></os><test:runstate>{run_state}</test:runstate></domain>"
    )


def fake_host(vms: Iterable[str]) -> str:
    """A file for ``test:///that/file.xml``."""
    return f"<node>{''.join(vms)}</node>"


def real_vm(
    name: str,
    guest: Guest,
    *,
    act: str = "none",
    delay: int = 0,
    console: Path,
    on_crash: str = "destroy",
    uuid: UUID | None = None,
    kernel: str = "",
    disk: Path | None = None,
) -> str:
    """A VM of the qemu driver, in software; 128 MiB is the least that the kernel booted with under libvirt.

    `kernel` goes to the guest's kernel: with ``acpi=off`` it hears of no power button. Only one with a `disk` (see
    `empty_disk`) can have snapshots of its running state.
    """
    driver, target = "<driver name='qemu' type='qcow2'/>", "<target dev='vda' bus='virtio'/>"
    disks = f"<disk type='file'>{driver}<source file='{disk}'/>{target}</disk>" if disk else ""
    return f"""
<domain type='qemu'>
  <name>{escape(name)}</name>
  <uuid>{uuid or uuid4()}</uuid>
  <memory unit='MiB'>128</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='q35'>hvm</type>
    <kernel>{guest.kernel}</kernel>
    <initrd>{guest.initrd}</initrd>
    <cmdline>console=ttyS0 quiet act={act} delay={delay} {kernel}</cmdline>
  </os>
  <features><acpi/></features>
  <on_poweroff>destroy</on_poweroff>
  <on_reboot>restart</on_reboot>
  <on_crash>{on_crash}</on_crash>
  <pm><suspend-to-mem enabled='yes'/></pm>
  <devices>
    {disks}
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='{console}'/></serial>
    <panic model='isa'/>
  </devices>
</domain>"""


def bare_vm(name: str, uuid: UUID) -> str:
    """A VM of the qemu driver that boots nothing: for its firmware 32 MiB are enough, and it is there at once."""
    return f"""
<domain type='qemu'>
  <name>{escape(name)}</name>
  <uuid>{uuid}</uuid>
  <memory unit='MiB'>32</memory>
  <vcpu>1</vcpu>
  <os><type arch='x86_64' machine='pc'>hvm</type></os>
  <devices>
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
  </devices>
</domain>"""


def empty_disk(path: Path, *, size: int = 2**20) -> None:
    """Write an empty qcow2 image: its header, and where its clusters are counted and mapped (qemu's qcow2.txt).

    qemu-img would do it, but comes in a package of its own that nothing else needs.
    """
    bits = 16
    cluster = 2**bits
    counts, block, map_ = cluster, 2 * cluster, 3 * cluster
    header = struct.pack(">4sIQIIQIIQQIIQ", b"QFI\xfb", 2, 0, 0, bits, size, 0, 1, map_, counts, 1, 0, 0)
    in_use = struct.pack(">4H", 1, 1, 1, 1)
    parts = header, struct.pack(">Q", block), in_use, b""
    path.write_bytes(b"".join(part.ljust(cluster, b"\0") for part in parts))
