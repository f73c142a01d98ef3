"""A way to act for tests: stops the guests of a fake host, or answers as it is told, and counts what it was asked for.

It has the real one's interface (`es_power.dispatch.stopper.Stopper`) and answers as that of libvirt does; what it does
happens at once.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from es_power.dispatch.stopper import Outcome, Result, StillWanted, Stopper
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.domain.libvirt_numbers import SHUTOFF
from es_power.testing.hypervisor import FakeHypervisor


class FakeStopper:
    """Of one fake host."""

    def __init__(self, host: FakeHypervisor) -> None:
        self.host = host
        #: What it was asked to stop, and how, in order.
        self.sent: list[tuple[InstanceId, StopVerb]] = []
        #: What to answer next. An act is carried out only if it is accepted, or when nothing is left here.
        self.results: list[Result] = []
        #: The guests that do not shut themselves down: they are destroyed, if that is still wanted.
        self.deaf: set[InstanceId] = set()
        #: Called with each act before anything happens.
        self.before: Callable[[InstanceId], None] = lambda _: None

    async def stop(
        self,
        instance: InstanceId,
        verb: StopVerb,
        *,
        within: float,  # noqa: ARG002 (it acts at once)
        still_wanted: StillWanted,
    ) -> Result:
        """Stop a guest, unless there is another answer to give."""
        await trio.lowlevel.checkpoint()
        self.before(instance)
        self.sent.append((instance, verb))
        result = self.results.pop(0) if self.results else Result(outcome=Outcome.ACCEPTED)
        return await self._carry_out(instance, verb, still_wanted) if result.outcome is Outcome.ACCEPTED else result

    async def _carry_out(self, instance: InstanceId, verb: StopVerb, still_wanted: StillWanted) -> Result:
        vm = self.host.vms.get(instance)
        if vm is None:
            return Result(outcome=Outcome.REFUSED, reason="libvirt does not know the guest")
        if vm.state == SHUTOFF:
            return Result(outcome=Outcome.ACCEPTED, reason="it is off already")
        if verb is StopVerb.STOP and instance not in self.deaf:
            self.host.power_off(instance)
            return Result(outcome=Outcome.ACCEPTED)
        if verb is StopVerb.STOP and not await still_wanted():
            return Result(outcome=Outcome.ACCEPTED, reason="it did not shut down; it is left on")
        self.host.destroy(instance)
        return Result(outcome=Outcome.ACCEPTED, reason="it was destroyed")


if TYPE_CHECKING:
    _promised: type[Stopper] = FakeStopper
