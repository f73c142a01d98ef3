"""The current power_state table: one row for each instance, from the host whose word counts."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from es_power.domain.events import START, InstanceId, Label, Position
from es_power.domain.instance import Instance, Owner
from es_power.domain.policy import POLICIES, WORTH_A_LOOK, mirrored
from es_power.domain.states import UNKNOWN, PowerState, VmState
from es_power.domain.streams import observed_host, told_host
from es_power.domain.time import NEVER, SECOND, Timestamp
from es_power.projections.digests import line, of_lines
from es_power.projections.fleet import Fleet, Place
from es_power.projections.quarantine import SetAside


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What is said of one instance at one moment."""

    instance: InstanceId
    name: Label | None
    host: str
    #: A PowerState's name, or UNKNOWN while nobody can say.
    power_state: str
    #: What Nova or a person vouches for; else the mirror of what libvirt saw.
    vm_state: VmState | None
    task_state: str | None
    #: The policy that applies: the host's for vouched instances, else `follow`.
    policy: str
    since: Timestamp
    observed_at: Timestamp
    position: Position
    #: Set by an event that no observation has confirmed yet.
    provisional: bool
    gone: bool
    #: libvirt's last answer, raw; None where it was never asked or did not know the VM.
    state: int | None
    reason: int | None
    #: Why the power_state reads UNKNOWN, or what else a person should know; empty where all is well.
    note: str

    @property
    def drift(self) -> str | None:
        """What the policy's table says of it where it is not what its record says; None where nobody would look twice.

        That is what it orders, with the rule, or its word for what is worth a look. A task under way explains it.
        """
        policy = POLICIES.get(self.policy)
        if policy is None or self.vm_state is None or self.task_state is not None or self.power_state == UNKNOWN:
            return None
        verdict = policy.verdict(self.vm_state, PowerState(self.power_state))
        return str(verdict) if verdict.rule is not None or verdict in WORTH_A_LOOK else None


def power_rows(fleet: Fleet, *, now: Timestamp, everything: bool = False) -> Iterator[PowerRow]:
    """Read the table at `now`, which decides which states are too old to be shown.

    One row for each instance; with `everything`, one for each host that ever showed it, gone ones included.
    """
    for instance in fleet.seen_on:
        for row in rows_of(fleet, instance, now=now, everything=everything):
            if everything or not row.gone:
                yield row
    if everything:
        for instance in fleet.told:
            if instance not in fleet.seen_on:
                yield from rows_of(fleet, instance, now=now)


def rows_of(fleet: Fleet, instance: InstanceId, *, now: Timestamp, everything: bool = False) -> Iterator[PowerRow]:
    """Read one instance's row at `now`, gone or not; with `everything`, one for each host that ever showed it.

    Where several hosts show it on, each of them has a row. One that only imported facts tell of has a row that says so.
    """
    streams = fleet.seen_on.get(instance, ())
    if not streams:
        yield from _told_rows(fleet, instance)
        return
    owner = fleet.owner(instance)
    for stream in streams if everything else _whose_word_counts(fleet, instance, owner):
        known = fleet.get(instance, stream)
        yield _row(fleet, instance, stream, known, _doubt(fleet, stream, instance, owner, now))


def _whose_word_counts(fleet: Fleet, instance: InstanceId, owner: Owner) -> Collection[str]:
    if owner.host or owner.conflict:
        return (owner.host,) if owner.host else owner.conflict
    return (max(fleet.seen_on[instance], key=lambda stream: fleet.get(instance, stream).position),)


def _row(fleet: Fleet, instance: InstanceId, stream: str, known: Instance, doubt: str) -> PowerRow:
    said = fleet.vouched.get(instance)
    state = known.power_state
    return PowerRow(
        instance=instance,
        name=known.name,
        host=observed_host(stream) or stream,
        power_state=UNKNOWN if doubt or state is None else state.value,
        vm_state=said.vm_state if said else mirrored(state or PowerState.NOSTATE),
        task_state=said.task_state if said else None,
        policy=fleet.places[stream].host.policy if said else "follow",
        since=known.since,
        observed_at=known.observed_at,
        position=known.position,
        provisional=known.provisional,
        gone=known.gone,
        state=known.state,
        reason=known.reason,
        note=doubt or _mark(fleet.doubt(instance)),
    )


def _told_rows(fleet: Fleet, instance: InstanceId) -> Iterator[PowerRow]:
    if told := fleet.told_by(instance):
        stream, name = told
        said = fleet.vouched.get(instance)
        yield PowerRow(
            instance=instance,
            name=name,
            host=told_host(stream) or stream,
            power_state=UNKNOWN,
            vm_state=said.vm_state if said else None,
            task_state=said.task_state if said else None,
            policy="follow",
            since=NEVER,
            observed_at=NEVER,
            position=START,
            provisional=False,
            gone=False,
            state=None,
            reason=None,
            note="imported: never observed",
        )


def _mark(aside: SetAside | None) -> str:
    return "" if aside is None else f"record {aside.position} was set aside (es-power quarantine)"


def _doubt(fleet: Fleet, stream: str, instance: InstanceId, owner: Owner, now: Timestamp) -> str:
    """Why nobody can say what this VM's state is; empty where somebody can."""
    place, known, aside = fleet.places[stream], fleet.get(instance, stream), fleet.doubt(instance)
    if aside is not None and known.position < aside.position:
        return _mark(aside)
    host = place.host
    if host.blind_since is not None:
        return f"blind: {host.blind_reason}"
    if owner.conflict:
        return f"on at {' and '.join(observed_host(other) or other for other in owner.conflict)}"
    if owner.host is None and known.migrated_away:
        return "migrated to a host that nobody observes"
    if known.power_state is None and known.state is not None:
        return f"libvirt's state {known.state} is not one we know"
    if known.power_state is None:
        return "never observed"
    if is_old(place, known.observed_at, now):
        return "not seen for two spacings" if host.running else "not seen since the service stopped"
    return ""


def is_old(place: Place, observed_at: Timestamp, now: Timestamp) -> bool:
    """Whether a state is older than two sweeps' spacing, so that nobody should rely on it."""
    return now - observed_at > 2 * place.host.spacing * SECOND


def digest(fleet: Fleet) -> str:
    """SHA-256 over all that the fold knows, in an order of its own; equal folds have equal digests."""
    lines = [f"{instance} {stream} {line(known)}" for instance, stream, known in fleet]
    lines += [f"{stream} {line(place.host)}" for stream, place in fleet.places.items()]
    lines += [f"{instance} {line(said)}" for instance, said in fleet.vouched.items()]
    return of_lines(sorted(lines))
