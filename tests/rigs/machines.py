"""XML of VMs: for the test driver's file, and for real guests."""

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
) -> str:
    """A VM of the qemu driver, in software; 128 MiB is the least that the kernel booted with under libvirt.

    `kernel` goes to the guest's kernel: with ``acpi=off`` it hears of no power button.
    """
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
    <controller type='usb' model='none'/>
    <memballoon model='none'/>
    <serial type='file'><source path='{console}'/></serial>
    <panic model='isa'/>
  </devices>
</domain>"""
