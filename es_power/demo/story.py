"""What happens in the demo, and in what order; the service only sees its consequences."""

import random
from collections.abc import Callable, Mapping
from typing import Final

import trio

from es_power.demo.guests import Guests, choose
from es_power.demo.wire import CuttableHypervisor
from es_power.domain.events import InstanceId
from es_power.domain.states import VmState

CHAOS_EVERY: Final = 0.4
"""Seconds between two things that happen to the VMs."""


class Story:
    """The demo's script: boot, vouch, chaos, a cut wire, and what it hid."""

    def __init__(
        self,
        guests: Guests,
        wire: CuttableHypervisor,
        *,
        duration: float,
        say: Callable[[str], None],
        seed: int = 1,
    ) -> None:
        self._guests = guests
        self._wire = wire
        self._duration = duration
        self._say = say
        self._dice = random.Random(seed)  # noqa: S311 (the same story every time, not a secret)

    def vouched(self, instances: Mapping[str, InstanceId]) -> Mapping[str, VmState]:
        """Who is vouched for: the first half is meant to be active, the one after it to be stopped."""
        names = list(instances)
        half = max(1, len(names) // 2)
        return dict.fromkeys(names[:half], VmState.ACTIVE) | dict.fromkeys(names[half : half + 1], VmState.STOPPED)

    async def play(self) -> None:
        """Tell it in the time there is; returns when it is over."""
        end = trio.current_time() + self._duration
        first, blind = 0.45 * self._duration, 0.1 * self._duration
        self._say("chaos: guests are paused, resumed, shut down, destroyed, crashed and saved")
        await self._chaos(first)
        self._say("the wire to libvirt is cut: from now on nobody sees anything")
        self._wire.cut()
        hidden = self._dice.sample(self._guests.names, k=min(3, len(self._guests.names)))
        stopped = [name for name in hidden if await self._guests.act("destroy", name)]
        self._say(f"unseen, {', '.join(stopped) or 'nothing'} stopped")
        await trio.sleep(blind)
        self._wire.mend()
        self._say("the wire is mended: a gap is closed, and the sweep finds what no event announced")
        # Chaos before the sweep would hide what it finds.
        await self._wire.wait_seen()
        await self._chaos(max(0, end - trio.current_time()))

    async def _chaos(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            while True:
                if await self._guests.act(*choose(self._dice, self._guests.names)):
                    await trio.sleep(min(CHAOS_EVERY, seconds / 4))
