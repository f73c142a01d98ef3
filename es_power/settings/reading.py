"""Settings read from files, the environment and flags.

Rules of this file:
1. A later saying beats an earlier one, key by key: defaults, /etc/es-power/config.toml, $XDG_CONFIG_HOME/es-power/
   config.toml (or the one file given by ``--config`` in place of both), ES_POWER_* variables, flags.
2. `[observe] uri` and `[[host]]` are two ways to say one thing, so whoever says either replaces both.
3. What is not understood is an error with a suggestion, and never ignored. An overridden mistake is a mistake.
"""

import os
import tomllib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import msgspec
from msgspec.structs import fields

from es_power.domain.policy import get_policy
from es_power.domain.time import SECOND
from es_power.errors import SettingsError
from es_power.settings.places import config_files, default_log_path, home
from es_power.settings.sections import (
    DEFAULT_URI,
    FIELDS,
    NOT_SETTINGS,
    SECTIONS,
    VARIABLES,
    CheckpointPlaces,
    Host,
    HostNames,
    Modes,
    NamedHost,
    Names,
    Place,
    PolicyName,
    Seconds,
    Settings,
    Text,
    Uri,
    Uris,
)
from es_power.timewords import span


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
    reading.default_uri(environ)
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
        except RecursionError:
            self.problems.append(f"{path}: has brackets in brackets without end; no setting is so deep")
        except ValueError as error:  # tomllib's own, and Python's about a number of thousands of digits
            self.problems.append(f"{path}: is not TOML: {error}")
        else:
            self._document(str(path), document)

    def variables(self, environ: Mapping[str, str]) -> None:
        """Read the variables that begin with ES_POWER_; an empty one says nothing."""
        values: dict[str, Any] = {}
        for variable, text in sorted(environ.items()):
            if not variable.startswith("ES_POWER_") or not text or NOT_SETTINGS.fullmatch(variable):
                continue
            if variable in VARIABLES:
                self._take(values, VARIABLES[variable], text, where=variable, strict=False)
            else:
                self.problems.append(f"environment: unknown variable {variable}; {_suggest(variable, VARIABLES)}")
        self._overlay("environment", values)

    def flags(self, overrides: Mapping[str, object]) -> None:
        """Read what the command line said."""
        values: dict[str, Any] = {}
        for key, value in overrides.items():
            if value is None or value in ((), []):
                continue
            if key in FIELDS:
                self._take(values, key, value, where=f"command line: {key}", strict=False)
            else:
                self.problems.append(f"command line: unknown setting {key}; {_suggest(key, FIELDS)}")
        self._overlay("command line", values)

    def default_uri(self, environ: Mapping[str, str]) -> None:
        """Where nobody said what to observe, read what all of libvirt's programs go by."""
        values: dict[str, Any] = {"host.uri": DEFAULT_URI}
        if uri := environ.get("LIBVIRT_DEFAULT_URI"):
            self._take(values, "host.uri", uri, where="environment: LIBVIRT_DEFAULT_URI", strict=False)
        self.hosts = self.hosts or [Host(uri=values["host.uri"])]

    def settings(self, environ: Mapping[str, str]) -> Settings:
        """Put together what was said, and what follows where nothing was."""
        path = str(self.values.pop("log.path", "") or default_log_path(environ, os.geteuid()))
        if path.startswith("~/"):  # no shell has seen it
            path = str(home(environ) / path[2:])
        sections: dict[str, Any] = {"log": {"path": path}, "hosts": msgspec.to_builtins(self.hosts)}
        for key, value in self.values.items():
            section, _, name = key.partition(".")
            sections.setdefault(section, {})[name] = value
        return msgspec.convert(sections, Settings)

    def _document(self, source: str, document: Mapping[str, Any]) -> None:
        values: dict[str, Any] = {}
        hosts: list[Host] = []
        for section, content in document.items():
            if section not in SECTIONS:
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
            if f"{section}.{name}" in FIELDS:
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
        kind = FIELDS[key].type
        try:
            values[key] = _convert(kind, value, strict=strict)
        except SettingsError as error:
            self.problems.append(f"{where}: {error}")
        except (ValueError, OverflowError, msgspec.ValidationError):
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
    if isinstance(value, str) and kind not in (Place, Text):
        value.encode()  # what is no text is none in any form; only the name of a file may be so
    if isinstance(value, str) and kind == Seconds:
        value = span(value) / SECOND
    if isinstance(value, str) and kind in (Uris, Names, CheckpointPlaces):
        value = value.split()
    if isinstance(value, str) and kind in (Modes, HostNames):
        value = dict(pair.partition("=")[::2] for pair in value.split())
    converted: object = msgspec.convert(value, kind, strict=strict)
    if isinstance(converted, str) and kind == PolicyName:
        get_policy(converted)
    if kind in (Uri, Uris):
        for uri in [converted] if isinstance(converted, str) else msgspec.convert(converted, Uris):
            urlsplit(uri)
    return converted


def _brackets(section: str) -> str:
    return "[[host]]" if section == "host" else f"[{section}]"


def _suggest(name: str, known: Iterable[str], show: Callable[[str], str] = str) -> str:
    close = get_close_matches(name, known, n=1)
    return f"did you mean {show(close[0])}?" if close else f"known are {', '.join(map(show, known))}"


def _suggest_section(name: str) -> str:
    return _suggest_home(name) or _suggest(name, SECTIONS, _brackets)


def _suggest_key(section: str, name: str) -> str:
    return _suggest_home(name) or _suggest(name, [field.name for field in fields(SECTIONS[section])])


def _suggest_home(key: str) -> str:
    """Say where a key belongs that was written elsewhere; empty where there is no such key."""
    sections = [_brackets(section) for section, _, name in (known.partition(".") for known in FIELDS) if name == key]
    return f"{key} belongs in {' or '.join(sections)}" if sections else ""
