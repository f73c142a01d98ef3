"""One frozen Settings, out of files, the environment and flags; every mistake is reported at once.

Rules of this file:
1. A later saying beats an earlier one, key by key: defaults, /etc/es-power/config.toml, $XDG_CONFIG_HOME/es-power/
   config.toml (or the one file given by ``--config`` in place of both), ES_POWER_* variables, flags.
2. `[observe] uri` and `[[host]]` are two ways to say one thing, so whoever says either replaces both.
3. What is not understood is an error with a suggestion, and never ignored. An overridden mistake is a mistake.
4. A type's ``description`` ends the sentence "it must be ..." and so is the mend of every problem with it.
"""

import os
import re
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import FieldInfo, fields

from es_power.domain.policy import POLICIES, get_policy
from es_power.domain.time import SECOND
from es_power.errors import SettingsError
from es_power.timewords import span

__all__ = [
    "Act",
    "Breaker",
    "Bridge",
    "Connection",
    "Host",
    "Lease",
    "Log",
    "Nova",
    "PolicyChoice",
    "Settings",
    "Sweep",
    "config_files",
    "default_log_path",
    "load",
]

SYSTEM_CONFIG: Final = Path("/etc/es-power/config.toml")
SYSTEM_STATE: Final = Path("/var/lib/es-power")
DEFAULT_URI: Final = "qemu:///system"


# ------------------------------------------------------------------------------------------------------- kinds

_YEAR: Final = 31_536_000

Seconds = Annotated[
    float, Meta(gt=0, le=_YEAR, description='a time above zero and up to a year, in seconds or in words like "10m"')
]
Count = Annotated[int, Meta(ge=1, le=2**31 - 1, description="a whole number from 1 on")]
Share = Annotated[float, Meta(ge=0, lt=1, description="a share from 0 up to, not including, 1")]
Place = Annotated[str, Meta(min_length=1, description="a path, or a URL such as postgresql://user@host/database")]
Uri = Annotated[str, Meta(pattern=r"^\S+$", description="a libvirt URI such as qemu:///system, without blanks")]
Uris = Annotated[tuple[Uri, ...], Meta(description='a list of libvirt URIs such as ["qemu:///system"]')]
HostName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9._-]{1,255}$", description="a host name of letters, digits, points and dashes")
]
PolicyName = Annotated[str, Meta(description=f"the name of a policy: {', '.join(POLICIES)}")]
ModeName = Literal["dry-run", "approve", "auto"]
Mode = Annotated[
    ModeName, Meta(description="dry-run (nothing is sent), approve (what a person approved) or auto (what was planned)")
]
Modes = Annotated[
    dict[str, ModeName],
    Meta(description='a table of host names or instance UUIDs and their modes, such as {"kvm-07" = "auto"}'),
]
Names = Annotated[tuple[str, ...], Meta(description='a list of names such as ["root", "ops"]')]
HostNames = Annotated[
    dict[str, str],
    Meta(description='a table of our names of hosts and Nova\'s names for them, such as {"kvm-07" = "compute-7"}'),
]
Switch = Annotated[bool, Meta(description="true or false")]
Text = Annotated[str, Meta(description="a text")]


# ---------------------------------------------------------------------------------------------------- sections


class Log(Struct, frozen=True, kw_only=True):
    """Where the log is."""

    #: A path of SQLite's, or a URL.
    path: Place


class Observe(Struct, frozen=True, kw_only=True):
    """What to observe, by URI alone; the host is called what libvirt calls it."""

    uri: Uris = ()


class Host(Struct, frozen=True, kw_only=True):
    """One hypervisor to observe."""

    uri: Uri
    #: What to call it; None: what libvirt calls it (virConnectGetHostname).
    name: HostName | None = None


class NamedHost(Struct, frozen=True, kw_only=True):
    """One `[[host]]`: a URI and what to call the host."""

    name: HostName
    uri: Uri


class Sweep(Struct, frozen=True, kw_only=True):
    """How often every VM is asked for."""

    #: Seconds between sweeps (Nova's sync_power_state_interval).
    spacing: Seconds = 600.0
    #: The share of the spacing by which a sweep may come early or late, so that hosts do not sweep in step.
    jitter: Share = 0.1


class PolicyChoice(Struct, frozen=True, kw_only=True):
    """What decides for vouched instances, and what becomes of its commands."""

    name: PolicyName = "nova-2013"
    mode: Mode = "dry-run"
    #: By host name or instance UUID, for those that have another one; an instance's is before its host's.
    modes: Modes = {}


class Act(Struct, frozen=True, kw_only=True):
    """How planned commands are executed, by `es-power act`."""

    #: Seconds that a command waits before anything else, so that a reboot is over (Nova waits 15 in memory).
    settle: Seconds = 15.0
    #: Seconds, at most, between the last look's answer and the act; later the command is withdrawn.
    window: Seconds = 2.0
    #: Seconds after its approval, or its request under auto, after which a command is too old to be sent.
    max_age: Seconds = 3600.0
    #: Seconds after which a command that nobody approved expires.
    expiry: Seconds = 86_400.0
    #: Seconds that a guest has to shut itself down before it is destroyed (Nova's shutdown_timeout).
    shutdown_timeout: Seconds = 60.0
    #: Seconds in which an act has to be seen to have happened.
    confirm: Seconds = 120.0
    #: Seconds that a host has to be up before commands of its VMs are sent.
    after_boot: Seconds = 300.0
    #: Where approvals and holds reach the actor; empty: /run/es-power/act.sock, or beside a log of one's own.
    socket: Text = ""
    #: Users and (with @) groups, beside root and the actor's own user, who may approve and hold.
    operators: Names = ()


class Breaker(Struct, frozen=True, kw_only=True):
    """When so much of a host would be stopped at once that a person has to look first."""

    #: Seconds that count as at once.
    within: Seconds = 60.0
    #: So many commands, if they are also more than this share of the host's known VMs.
    commands: Count = 5
    share: Share = 0.3
    #: More than so many in any case.
    most: Count = 10
    #: A host on which at least so many VMs were on, and now none is.
    whole: Count = 3


class Nova(Struct, frozen=True, kw_only=True):
    """Nova's records, out of its API."""

    #: Whether Nova is asked at all; how to reach it is said by clouds.yaml and OS_* variables.
    enabled: Switch = False
    #: The cloud's name in clouds.yaml; empty: what OS_CLOUD or the other OS_* variables say.
    cloud: Text = ""
    #: Seconds between two questions for what changed, and between two for everything.
    spacing: Seconds = 60.0
    full: Seconds = 3600.0
    #: Seconds after which a question that was not answered is given up.
    timeout: Seconds = 20.0
    #: Questions for single instances in a minute, at most.
    budget: Count = 600
    #: Seconds that a task may be pending before an alarm is raised.
    stuck_after: Seconds = 3600.0
    #: Nova's names of hosts (its `host` option) that libvirt calls otherwise.
    hosts: HostNames = {}


class Connection(Struct, frozen=True, kw_only=True):
    """How a connection to libvirt is kept."""

    #: Whole seconds between keepalive messages, and how many may go unanswered (virConnectSetKeepAlive).
    keepalive_interval: Count = 5
    keepalive_count: Count = 3
    #: Seconds, at most, between two tries to connect.
    backoff_max: Seconds = 30.0
    #: Seconds after which a call that has not come back is given up.
    call_timeout: Seconds = 30.0


class Bridge(Struct, frozen=True, kw_only=True):
    """The queue between libvirt's thread and ours."""

    #: How many events it holds; what comes beyond is a gap.
    capacity: Count = 65_536


class Lease(Struct, frozen=True, kw_only=True):
    """The claim to be the only observer of a host in one log."""

    #: Seconds it lasts without being renewed.
    duration: Seconds = 15.0


class Settings(Struct, frozen=True, kw_only=True):
    """Everything that can be set."""

    log: Log
    hosts: tuple[Host, ...] = (Host(uri=DEFAULT_URI),)
    sweep: Sweep = Sweep()
    policy: PolicyChoice = PolicyChoice()
    act: Act = Act()
    breaker: Breaker = Breaker()
    nova: Nova = Nova()
    connection: Connection = Connection()
    bridge: Bridge = Bridge()
    lease: Lease = Lease()


_SECTIONS: Final[Mapping[str, type[Struct]]] = {
    "log": Log,
    "observe": Observe,
    "host": NamedHost,
    "sweep": Sweep,
    "policy": PolicyChoice,
    "act": Act,
    "breaker": Breaker,
    "nova": Nova,
    "connection": Connection,
    "bridge": Bridge,
    "lease": Lease,
}
_FIELDS: Final[Mapping[str, FieldInfo]] = {
    f"{section}.{field.name}": field for section, struct in _SECTIONS.items() for field in fields(struct)
}
_VARIABLES: Final[Mapping[str, str]] = {
    "ES_POWER_LOG" if key == "log.path" else f"ES_POWER_{key.replace('.', '_').upper()}": key
    for key in _FIELDS
    if not key.startswith("host.")
}
#: Of that prefix but not ours to read: what make reads, and what a cluster sets for a service named es-power.
_NOT_SETTINGS: Final = re.compile(r"ES_POWER_(NO_INSTALL|OS_RELEASE|SERVICE_(HOST|PORT).*|PORT(_.*)?)")


# --------------------------------------------------------------------------------------------------- the places


def config_files(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """Name the files that are read where ``--config`` gives none: the machine's, then the user's."""
    return SYSTEM_CONFIG, _xdg(environ, "XDG_CONFIG_HOME", ".config") / "es-power" / "config.toml"


def default_log_path(environ: Mapping[str, str], uid: int) -> Path:
    """Name the log of whoever names none: the service's in its StateDirectory, root's in the same, or one's own."""
    if directories := environ.get("STATE_DIRECTORY"):
        return Path(directories.partition(":")[0]) / "log.db"
    if uid == 0:
        return SYSTEM_STATE / "log.db"
    return _xdg(environ, "XDG_STATE_HOME", ".local/state") / "es-power" / "log.db"


def _xdg(environ: Mapping[str, str], variable: str, fallback: str) -> Path:
    """Find a base directory; a relative one is to be ignored (XDG Base Directory Specification)."""
    given = Path(environ.get(variable, ""))
    return given if given.is_absolute() else _home(environ) / fallback


def _home(environ: Mapping[str, str]) -> Path:
    return Path(environ.get("HOME") or "/")


# -------------------------------------------------------------------------------------------------- the reading


def load(
    config: Path | str | None = None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Read all settings; SettingsError lists every problem there is.

    `overrides` are the flags by their dotted key (``{"sweep.spacing": "10m"}``); None or empty: it was not given.
    """
    reading = _Reading()
    if config is not None:
        reading.file(Path(config), required=True)
    else:
        for path in config_files(environ):
            reading.file(path, required=False)
    reading.variables(environ)
    reading.flags(overrides)
    if reading.problems:
        raise SettingsError(reading.problems)
    return reading.settings(environ)


@dataclass(slots=True)
class _Reading:
    """What was said so far, and what was wrong with it."""

    values: dict[str, Any] = field(default_factory=dict)
    hosts: Sequence[Host] = ()
    problems: list[str] = field(default_factory=list)

    def file(self, path: Path, *, required: bool) -> None:
        """Read one TOML file; one that is not required may be missing."""
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            if required:
                self.problems.append(f"{path}: there is no such file; name one that exists")
        except OSError as error:
            self.problems.append(f"{path}: cannot be read ({error.strerror}); make it a file that this user can read")
        except UnicodeDecodeError:
            self.problems.append(f"{path}: is not text in UTF-8; save it as that")
        except tomllib.TOMLDecodeError as error:
            self.problems.append(f"{path}: is not TOML: {error}")
        else:
            self._document(str(path), document)

    def variables(self, environ: Mapping[str, str]) -> None:
        """Read the variables that begin with ES_POWER_; an empty one says nothing."""
        values: dict[str, Any] = {}
        for variable, text in sorted(environ.items()):
            if not variable.startswith("ES_POWER_") or not text or _NOT_SETTINGS.fullmatch(variable):
                continue
            if variable in _VARIABLES:
                self._take(values, _VARIABLES[variable], text, where=variable, strict=False)
            else:
                self.problems.append(f"environment: unknown variable {variable}; {_suggest(variable, _VARIABLES)}")
        self._overlay("environment", values)

    def flags(self, overrides: Mapping[str, object]) -> None:
        """Read what the command line said."""
        values: dict[str, Any] = {}
        for key, value in overrides.items():
            if value is None or value in ((), []):
                continue
            if key in _FIELDS:
                self._take(values, key, value, where=f"command line: {key}", strict=False)
            else:
                self.problems.append(f"command line: unknown setting {key}; {_suggest(key, _FIELDS)}")
        self._overlay("command line", values)

    def settings(self, environ: Mapping[str, str]) -> Settings:
        """Put together what was said, and what follows where nothing was."""
        path = str(self.values.pop("log.path", "") or default_log_path(environ, os.geteuid()))
        if path.startswith("~/"):  # no shell has seen it
            path = str(_home(environ) / path[2:])
        hosts = self.hosts or [Host(uri=environ.get("LIBVIRT_DEFAULT_URI") or DEFAULT_URI)]
        sections: dict[str, Any] = {"log": {"path": path}, "hosts": msgspec.to_builtins(hosts)}
        for key, value in self.values.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        return msgspec.convert(sections, Settings)

    def _document(self, source: str, document: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {}
        hosts: list[Host] = []
        for section, content in document.items():
            if section not in _SECTIONS:
                self.problems.append(f"{source}: unknown section [{section}]; {_suggest_section(section)}")
            elif section == "host":
                hosts += self._named_hosts(source, content)
            else:
                self._section(values, source, section, content)
        self._overlay(source, values, hosts)

    def _section(self, values: dict[str, Any], source: str, section: str, content: object) -> None:
        brackets = _brackets(section)
        if not isinstance(content, dict):
            self.problems.append(f"{source}: {section} is no section; write {brackets} above its keys")
            return
        for name, value in content.items():
            if f"{section}.{name}" in _FIELDS:
                self._take(values, f"{section}.{name}", value, where=f"{source}: {brackets} {name}", strict=True)
            else:
                self.problems.append(f"{source}: unknown key {name} in {brackets}; {_suggest_key(section, name)}")

    def _named_hosts(self, source: str, content: object) -> Iterator[Host]:
        for table in content if isinstance(content, list) else [content]:
            values: dict[str, Any] = {}
            known = len(self.problems)
            self._section(values, source, "host", table)
            if len(self.problems) == known:
                missing = [field.name for field in fields(NamedHost) if f"host.{field.name}" not in values]
                self.problems += [f"{source}: a [[host]] has no {name}; add {name} = ..." for name in missing]
            if len(self.problems) == known:
                yield Host(name=values["host.name"], uri=values["host.uri"])

    def _take(self, values: dict[str, Any], key: str, value: object, *, where: str, strict: bool) -> None:
        kind = _FIELDS[key].type
        try:
            values[key] = _convert(kind, value, strict=strict)
        except SettingsError as error:
            self.problems.append(f"{where}: {error}")
        except (ValueError, msgspec.ValidationError):
            meaning = kind.__metadata__[0].description
            self.problems.append(f"{where} is {value!r:.80}; it must be {meaning}")

    def _overlay(self, source: str, values: dict[str, Any], named: Iterable[Host] = ()) -> None:
        hosts = [*(Host(uri=uri) for uri in values.pop("observe.uri", ())), *named]
        for uri, count in Counter(host.uri for host in hosts).items():
            if count > 1:
                self.problems.append(f"{source}: the URI {uri} is given {count} times; leave it in once")
        for name, count in Counter(host.name for host in hosts if host.name).items():
            if count > 1:
                self.problems.append(f"{source}: {count} hosts are called {name}; give each a name of its own")
        self.values |= values
        self.hosts = hosts or self.hosts


def _convert(kind: Any, value: object, *, strict: bool) -> object:
    """Read one value as its kind; text from a variable or a flag may stand for a number (not strict)."""
    if isinstance(value, str) and kind == Seconds:
        value = span(value) / SECOND
    if isinstance(value, str) and kind in (Uris, Names):
        value = value.split()
    if isinstance(value, str) and kind in (Modes, HostNames):
        value = dict(pair.partition("=")[::2] for pair in value.split())
    converted: object = msgspec.convert(value, kind, strict=strict)
    if isinstance(converted, str) and kind == PolicyName:
        get_policy(converted)
    return converted


def _brackets(section: str) -> str:
    return "[[host]]" if section == "host" else f"[{section}]"


def _suggest(name: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {show(close[0])}?" if close else f"known are {', '.join(map(show, known))}"


def _suggest_section(name: str) -> str:
    return _suggest_home(name) or _suggest(name, _SECTIONS, _brackets)


def _suggest_key(section: str, name: str) -> str:
    return _suggest_home(name) or _suggest(name, [field.name for field in fields(_SECTIONS[section])])


def _suggest_home(key: str) -> str:
    """Say where a key belongs that was written elsewhere; empty where there is no such key."""
    sections = [_brackets(section) for section, _, name in (known.partition(".") for known in _FIELDS) if name == key]
    return f"{key} belongs in {' or '.join(sections)}" if sections else ""
