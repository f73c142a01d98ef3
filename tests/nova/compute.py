"""Nova's compute service over real libvirt domains, run by the Python that Nova is installed for.

Nova's own fake driver keeps its guests in a dict, where nobody else can see or touch them. Here each guest is also a
domain of libvirt's test driver, with the instance's UUID and name: Nova's stop ends it, whoever ends it beside Nova is
seen by `get_info`, and es_power observes the same domains. ``virsh`` does it, so that this Python needs no libvirt.

``python compute.py URI [nova-compute's options]``
"""

import subprocess
import sys
import types

import nova.cmd.compute
from nova import exception
from nova.compute import power_state
from nova.virt import fake, hardware

_STATES = {
    "running": power_state.RUNNING,
    "idle": power_state.RUNNING,
    "paused": power_state.PAUSED,
    "in shutdown": power_state.SHUTDOWN,
    "shut off": power_state.SHUTDOWN,
    "crashed": power_state.CRASHED,
    "pmsuspended": power_state.SUSPENDED,
}
_DOMAIN = """
<domain type='test'>
  <name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu><os><type>hvm</type></os>
</domain>
"""
_NO_DOMAIN = "Domain not found", "failed to get domain"


class TestDomains(fake.FakeDriverWithoutFakeNodes):
    """The fake driver, its guests told to libvirt; power states are libvirt's."""

    uri = ""

    def spawn(self, context, instance, *arguments, power_on=True, **settings):
        super().spawn(context, instance, *arguments, power_on=power_on, **settings)
        self._virsh("define", "/dev/stdin", text=_DOMAIN.format(name=instance.name, uuid=instance.uuid))
        if power_on:
            self._virsh("start", instance.uuid)

    def get_info(self, instance, use_cache=True):
        return hardware.InstanceInfo(state=_STATES[self._virsh("domstate", instance.uuid)])

    def power_off(self, instance, timeout=0, retry_interval=0):
        self._end(instance)

    def power_on(self, context, instance, *_arguments, **_settings):
        if self.get_info(instance).state != power_state.RUNNING:
            self._virsh("start", instance.uuid)

    def reboot(self, context, instance, network_info, reboot_type, **_settings):
        if reboot_type == "SOFT":
            self._virsh("reboot", instance.uuid)
        else:
            self._end(instance)
            self._virsh("start", instance.uuid)

    def pause(self, instance):
        self._virsh("suspend", instance.uuid)

    def unpause(self, instance):
        self._virsh("resume", instance.uuid)

    def suspend(self, context, instance):
        self._virsh("managedsave", instance.uuid)

    def resume(self, context, instance, network_info, block_device_info=None, share_info=None):
        self._virsh("start", instance.uuid)

    def destroy(self, context, instance, *arguments, **settings):
        try:
            self._end(instance)
            self._virsh("undefine", "--managed-save", instance.uuid)
        except exception.InstanceNotFound:
            pass  # somebody undefined it beside Nova
        super().destroy(context, instance, *arguments, **settings)

    def _end(self, instance):
        if self.get_info(instance).state != power_state.SHUTDOWN:
            self._virsh("destroy", instance.uuid)

    def _virsh(self, *words, text=None):
        done = subprocess.run(
            ["virsh", "--quiet", "--connect", self.uri, *words], input=text, capture_output=True, text=True, check=False
        )
        if any(sign in done.stderr for sign in _NO_DOMAIN):
            raise exception.InstanceNotFound(instance_id=words[-1])
        if done.returncode:
            raise exception.NovaException(f"virsh {words[0]}: {done.stderr.strip()}")
        return done.stdout.strip()


def main():
    """Run nova-compute; `compute_driver` names a module of nova.virt, so the class is made one there."""
    TestDomains.uri = sys.argv.pop(1)
    module = types.ModuleType("nova.virt.rig")
    module.TestDomains = TestDomains
    sys.modules[module.__name__] = module
    return nova.cmd.compute.main()


if __name__ == "__main__":
    sys.exit(main())
