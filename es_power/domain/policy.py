"""THE decision tables, and the one lookup that reads them.

Rules of this file:
1. Everything that can stop a machine lives here; nothing outside decides.
2. Nothing here acts: a decision says what to save and what to order, and others do it, or do not.
3. Every cell is written down. No cell that orders something is a default, so no state is ever stopped by accident.
4. A policy is data with a name and a version. A change of a cell raises the version: decisions in the log name both.

Theory of operation. A decision joins two sayings about one instance: what the record says it is meant to be (vm_state)
and what its hypervisor says it is (power_state). Four questions come first and are the same in every policy (`decide`);
then the table is looked up once, row vm_state, column power_state, and the cell is the verdict. Saving and ordering are
two answers: the driver wins, so what it says is saved wherever it differs, also where no rule speaks; and a rule fires
on the state, never on the change, so a stop that came to nothing is ordered again by the next look.

Sources: the 2013 note's rules a to f of the periodic sync; for 2026, `_sync_power_states`,
`_query_driver_power_state_and_sync` and `_sync_instance_power_state` of nova/compute/manager.py in Nova 34.0.0.
`docs/reference/policies.md` is generated from these tables (`scripts/policy_tables.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import Final, Literal

from es_power.domain.decisions import StopVerb
from es_power.domain.states import PowerState, VmState
from es_power.errors import SettingsError

__all__ = [
    "MIRRORED",
    "POLICIES",
    "WORTH_A_LOOK",
    "Decision",
    "DriverAnswer",
    "Policy",
    "Situation",
    "Verdict",
    "decide",
    "driver_answer",
    "get_policy",
    "mirrored",
    "policy_table",
]

DriverAnswer = PowerState | Literal["NOTFOUND", "ERROR"]
"""What `get_info` gave: a power_state; NOTFOUND, it does not know the instance; ERROR, it could not be asked."""


# -------------------------------------------------------------------------------------------- in, out, and a cell


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision may look at."""

    #: What the record says the instance is meant to be; None where no record says anything.
    vm_state: VmState | None
    #: Nova's word for what is under way (``powering-off``); None where nothing is.
    task_state: str | None
    #: The power_state that was saved last; None before the first.
    db_power_state: PowerState | None
    driver: DriverAnswer
    #: Whether the host that was asked is the instance's host of record.
    host_matches: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to save, what to order, and why."""

    #: The value to save; None where nothing is saved.
    power_state: PowerState | None
    #: The command; None where nothing is ordered.
    verb: StopVerb | None
    #: The rule that orders it; None exactly where nothing is ordered.
    rule: str | None
    #: Sentences for a person.
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One cell of a table: what it orders, or the word for why it orders nothing."""

    word: str
    #: A sentence, with the places {vm_state} and {power_state}.
    reason: str
    rule: str | None = None

    @property
    def verb(self) -> StopVerb | None:
        """The command; only a cell with a rule has one, and its word names it."""
        return None if self.rule is None else StopVerb(self.word)

    def __str__(self) -> str:
        return self.word if self.rule is None else f"{self.word} ({self.rule})"


Row = tuple[Verdict, Verdict, Verdict, Verdict, Verdict, Verdict]
"""One vm_state's verdicts, in the order of PowerState."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A named table of verdicts; one with a missing row cannot be made."""

    name: str
    version: int
    #: What it is for, in a sentence or two.
    description: str
    table: Mapping[VmState, Row]

    def __post_init__(self) -> None:
        if missing := set(VmState) - set(self.table):
            raise ValueError(f"policy {self.name} has no row for {', '.join(sorted(missing))}")

    def verdict(self, vm_state: VmState, power_state: PowerState) -> Verdict:
        """Look up one cell."""
        return self.table[vm_state][_COLUMN[power_state]]


_COLUMN: Final = MappingProxyType({power_state: column for column, power_state in enumerate(PowerState)})


# --------------------------------------------------------------------------------------------------- the verdicts

# Short names, so that the tables below read as tables: capitals order something, small letters do not.
agree: Final = Verdict("agree", "The record ({vm_state}) and the hypervisor ({power_state}) agree.")
leave: Final = Verdict("leave", "The rules leave {power_state} alone where the record says {vm_state}.")
doubt: Final = Verdict("doubt", "It should be active; {power_state} may be in passing or on purpose, so it is left.")
mute: Final = Verdict("no rule", "No rule speaks of the vm_state {vm_state}.")
warn: Final = Verdict("warn", "It should be gone ({vm_state}) and is {power_state}: worth a look, no command.")
mirror: Final = Verdict("mirror", "Nobody vouches for it: its vm_state mirrors what is seen, and nothing is ordered.")
blank: Final = Verdict("no record", "No record says what it is meant to be, so nothing is ordered.")
STOP_E: Final = Verdict("stop", "It should be active and is {power_state}: stop it, so that the record says so.", "e")
STOP_F: Final = Verdict("stop", "It should be stopped and is {power_state}: stop it.", "f")
KILL_F: Final = Verdict("force_stop", "It should be stopped and is {power_state}: stop it by force.", "f")
KILL_P: Final = Verdict("force_stop", "It should be paused and is {power_state}: stop it by force.", "p")

WORTH_A_LOOK: Final = (doubt, warn)
"""What orders nothing, and yet is not what the record says."""


# ----------------------------------------------------------------------------------------------------- the tables

# fmt: off
_NOVA_2013: Final[Mapping[VmState, Row]] = {
    #                           NOSTATE  RUNNING  PAUSED   SHUTDOWN CRASHED  SUSPENDED
    VmState.ACTIVE:            (doubt,   agree,   doubt,   STOP_E,  STOP_E,  STOP_E),
    VmState.BUILDING:          (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.PAUSED:            (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.SUSPENDED:         (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.STOPPED:           (agree,   STOP_F,  STOP_F,  agree,   agree,   STOP_F),
    VmState.RESCUED:           (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.RESIZED:           (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.SOFT_DELETED:      (mute,    mute,    mute,    mute,    mute,    mute),
    VmState.DELETED:           (mute,    mute,    mute,    mute,    mute,    mute),
    VmState.ERROR:             (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.SHELVED:           (mute,    mute,    mute,    mute,    mute,    mute),
    VmState.SHELVED_OFFLOADED: (mute,    mute,    mute,    mute,    mute,    mute),
}

_NOVA_2026: Final[Mapping[VmState, Row]] = {
    #                           NOSTATE  RUNNING  PAUSED   SHUTDOWN CRASHED  SUSPENDED
    VmState.ACTIVE:            (doubt,   agree,   doubt,   STOP_E,  STOP_E,  STOP_E),
    VmState.BUILDING:          (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.PAUSED:            (leave,   leave,   agree,   KILL_P,  KILL_P,  leave),
    VmState.SUSPENDED:         (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.STOPPED:           (agree,   KILL_F,  KILL_F,  agree,   agree,   KILL_F),
    VmState.RESCUED:           (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.RESIZED:           (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.SOFT_DELETED:      (agree,   warn,    warn,    agree,   warn,    warn),
    VmState.DELETED:           (agree,   warn,    warn,    agree,   warn,    warn),
    VmState.ERROR:             (leave,   leave,   leave,   leave,   leave,   leave),
    VmState.SHELVED:           (mute,    mute,    mute,    mute,    mute,    mute),
    VmState.SHELVED_OFFLOADED: (mute,    mute,    mute,    mute,    mute,    mute),
}

_FOLLOW: Final[Mapping[VmState, Row]] = dict.fromkeys(
    VmState,                   (mirror,  mirror,  mirror,  mirror,  mirror,  mirror),
)

MIRRORED: Final[Mapping[PowerState, VmState | None]] = {
    PowerState.NOSTATE:   None,
    PowerState.RUNNING:   VmState.ACTIVE,
    PowerState.PAUSED:    VmState.ACTIVE,
    PowerState.SHUTDOWN:  VmState.STOPPED,
    PowerState.CRASHED:   VmState.STOPPED,
    PowerState.SUSPENDED: VmState.ACTIVE,
}
"""The vm_state of an instance that nobody vouches for: an inference, never an intent. What is gone has none."""
# fmt: on


# --------------------------------------------------------------------------------------------------- the policies


POLICIES: Final[Mapping[str, Policy]] = MappingProxyType(
    {
        policy.name: policy
        for policy in (
            Policy(
                name="nova-2013",
                version=1,
                description=(
                    "Rules a to f of Nova's power sync as they were written down in 2013; "
                    "the default for instances that Nova or a person vouches for."
                ),
                table=_NOVA_2013,
            ),
            Policy(
                name="nova-2026",
                version=1,
                description=(
                    "What Nova 34.0.0 does: a stopped instance that is on, and a paused one that is off, "
                    "are stopped by force, past the checks of the public API."
                ),
                table=_NOVA_2026,
            ),
            Policy(
                name="follow",
                version=1,
                description=(
                    "For instances that nobody vouches for: start, stop and save on a plain libvirt host are ordinary, "
                    "so no cell of it orders anything."
                ),
                table=_FOLLOW,
            ),
        )
    }
)


def get_policy(name: str) -> Policy:
    """Find a policy by name; SettingsError with a suggestion where there is none."""
    policy = POLICIES.get(name)
    if policy is None:
        close = get_close_matches(name, POLICIES, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(POLICIES)}"
        raise SettingsError([f"there is no policy {name!r}; {hint}"])
    return policy


# --------------------------------------------------------------------------------------------------- the decision


def decide(policy: Policy, situation: Situation) -> Decision:
    """Say what to save and what to order."""
    if not situation.host_matches:
        return _nothing("Another host is its host of record; what this one sees of it counts for nothing.")
    if situation.task_state is not None:  # rule a
        return _nothing(f"The task {situation.task_state} is under way, and whoever began it will end it.")
    match situation.driver:
        case "ERROR":
            return _nothing("The hypervisor could not be asked, and that says nothing about the instance.")
        case "NOTFOUND":  # rule b
            power_state = PowerState.NOSTATE
        case power_state:
            pass
    verdict = blank if situation.vm_state is None else policy.verdict(situation.vm_state, power_state)
    return Decision(
        power_state=None if power_state == situation.db_power_state else power_state,  # rule c: the driver wins
        verb=verdict.verb,
        rule=verdict.rule,
        reason=verdict.reason.format(vm_state=situation.vm_state, power_state=power_state),
    )


def _nothing(reason: str) -> Decision:
    return Decision(power_state=None, verb=None, rule=None, reason=reason)


def mirrored(power_state: PowerState) -> VmState | None:
    """Infer the vm_state of an instance that nobody vouches for; None where it is gone."""
    return MIRRORED[power_state]


def driver_answer(text: str) -> DriverAnswer:
    """Read a driver's answer as people write it (``RUNNING``, ``NOTFOUND``); ValueError names all there are."""
    try:
        return _ANSWERS[text]
    except KeyError:
        raise ValueError(f"{text!r} is no answer of a driver; there are {', '.join(_ANSWERS)}") from None


_ANSWERS: Final[Mapping[str, DriverAnswer]] = {
    **{power_state.value: power_state for power_state in PowerState},
    "NOTFOUND": "NOTFOUND",
    "ERROR": "ERROR",
}


def policy_table(policy: Policy) -> Sequence[Mapping[str, str]]:
    """The table as rows to print: vm_state, then each power_state by name; ``stop (e)`` is a command and its rule."""
    return [
        {"vm_state": str(vm_state)} | {str(state): str(policy.verdict(vm_state, state)) for state in PowerState}
        for vm_state in VmState
    ]
