"""What `es-power doctor` finds about Nova: what it lets this account see, and whether it stops instances by itself.

Nova's own sync has two switches (nova/conf/compute.py, nova/conf/workarounds.py): `sync_power_state_interval`, which a
negative number turns off, and `[workarounds] handle_virt_lifecycle_events`. Both are on where nova.conf is silent.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from configparser import ConfigParser, Error as ConfigError
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from es_power.cli.checks import Check, Result, failed
from es_power.cli.serving import nova_of
from es_power.domain.events import Recorded
from es_power.domain.time import SECOND, moment
from es_power.errors import LogError, NovaError, SettingsError
from es_power.ingest.nova_history import latest_stop_by_nova
from es_power.log import open_log
from es_power.nova import NovaApi
from es_power.settings import Settings

NOVA_CONF: Final = Path("/etc/nova/nova.conf")
"""Where Nova's settings of this host are; beside it those of nova-compute alone, and a folder of further ones."""

_CONSENT: Final = frozenset({"1", "true", "on", "yes"})  # oslo.config: Bool
_INTERVAL: Final = "sync_power_state_interval"
_EVENTS: Final = "[workarounds] handle_virt_lifecycle_events"
_MEND: Final = f"set {_INTERVAL} = -1 and {_EVENTS} = false in nova.conf and restart nova-compute, or use mode dry-run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A host that libvirt answered for: by what name, as which stream, and how many VMs it has."""

    name: str
    stream: str
    vms: int


async def nova_checks(settings: Settings, hosts: Sequence[Observed]) -> AsyncIterator[Check]:
    """Examine what Nova says of the hosts, and who acts on them."""
    try:
        async with nova_of(settings) as nova:
            if nova is not None:
                for host in hosts:
                    yield await _records(nova, host, settings.nova.hosts.get(host.name, host.name))
    except SettingsError as error:
        yield failed("Nova", error)
    if settings.nova.enabled or NOVA_CONF.parent.is_dir():
        yield await _both(settings, hosts)


async def _records(nova: NovaApi, host: Observed, name: str) -> Check:
    """Ask for the instances of one host."""
    check = f"Nova's {name}"
    try:
        found = await nova.servers(host=name)
    except NovaError as error:
        return failed(check, error)
    if not found and host.vms:
        return Check(
            check,
            Result.FINDING,
            f"Nova answers and has no instance there, libvirt has {host.vms} VMs",
            "if Nova calls the host otherwise, give it that name by [[host]]",
        )
    if found and not any(record.host for record in found):
        return Check(
            check,
            Result.FAILED,
            f"Nova answers with {len(found)} instances and does not show this account their hosts",
            "give the account the role admin",
        )
    if found and not any(host.name in (record.host, record.node) for record in found):
        return Check(
            check,
            Result.FINDING,
            f"Nova has its {len(found)} instances on {found[0].node}, and facts will say {host.name}",
            "give the host the name that Nova has for it by [[host]]; no command is planned before that",
        )
    return Check(check, Result.OK, f"Nova answers and shows the hosts of instances; it has {len(found)} there")


async def _both(settings: Settings, hosts: Sequence[Observed]) -> Check:
    """Find out whether Nova's own sync acts beside us."""
    modes = sorted({settings.policy.mode, *settings.policy.modes.values()} - {"dry-run"})
    if not modes:
        return Check("who acts", Result.OK, "the mode is dry-run: if anybody stops instances, it is Nova's own sync")
    mode = " and ".join(modes)
    switches = _switches_that_are_on()
    if switches:
        return Check("who acts", Result.FINDING, f"both would: the mode is {mode}, and {switches} is on in Nova", _MEND)
    latest = await _latest(settings.log.path, hosts)
    if latest is not None and (switches is None or latest.event.observed_at > NOVA_CONF.stat().st_mtime * SECOND):
        at = f"{moment(latest.event.observed_at):%Y-%m-%d %H:%M} UTC"
        found = f"both do: the mode is {mode}, and Nova's own sync stopped an instance on {at}"
        return Check("who acts", Result.FINDING, found, _MEND)
    if switches is None:
        found = f"the mode is {mode}; whether Nova's own sync is off cannot be read here, and it was not seen to act"
        return Check(
            "who acts", Result.FINDING, found, f"see that nova.conf has {_INTERVAL} = -1 and {_EVENTS} = false"
        )
    return Check(
        "who acts", Result.OK, f"es-power alone: the mode is {mode}, and Nova's own sync is off in {NOVA_CONF}"
    )


def read_nova_conf() -> ConfigParser | None:
    """Read Nova's settings of this host as nova-compute does; None where there are none, or none that we may read."""
    config = ConfigParser(strict=False, interpolation=None)
    beside = NOVA_CONF.parent
    folders = sorted(beside.glob("nova.conf.d/*.conf")) + sorted(beside.glob("nova-compute.conf.d/*.conf"))
    try:
        read = config.read([NOVA_CONF, beside / "nova-compute.conf", *folders])
    except (ConfigError, UnicodeDecodeError):
        return None
    return config if str(NOVA_CONF) in read else None


def _switches_that_are_on() -> str | None:
    """Name the switches that leave Nova's own sync on, nothing where both are off; None where that cannot be read."""
    config = read_nova_conf()
    if config is None:
        return None
    interval = config.get("DEFAULT", _INTERVAL, fallback="600").strip()
    events = config.get("workarounds", "handle_virt_lifecycle_events", fallback="true").strip()
    on: Iterable[tuple[str, bool]] = ((_INTERVAL, not interval.startswith("-")), (_EVENTS, events.lower() in _CONSENT))
    return " and ".join(name for name, is_on in on if is_on)


async def _latest(place: str, hosts: Sequence[Observed]) -> Recorded | None:
    """The last stop by Nova itself that the log has of these hosts."""
    try:
        async with open_log(place) as log:
            found = [await latest_stop_by_nova(log, host.stream) for host in hosts]
    except LogError:
        return None  # the check of the log says why
    return max((each for each in found if each), key=lambda each: each.event.observed_at, default=None)
