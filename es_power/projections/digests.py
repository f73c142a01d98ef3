"""Folds as SHA-256: equal folds have equal digests, in this version and in later ones.

A digest is compared with one that another version computed (the golden logs of releases), so what is at its default is
left out: a field that is added later is at its default wherever a log knows nothing of it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from hashlib import sha256
from typing import Any


def line(value: Any) -> str:
    """Write a dataclass as the fields that say something: ``Host epoch=1 holder=...``."""
    kind = type(value)
    said = _said(value, _defaults(kind))  # type: ignore[arg-type]  # any class is hashable
    return f"{kind.__name__} {' '.join(said)}"


def of_lines(lines: Iterable[str]) -> str:
    """SHA-256 over lines in this order."""
    sha = sha256()
    for each in lines:
        sha.update(each.encode() + b"\n")
    return sha.hexdigest()


def _said(value: Any, defaults: Mapping[str, Any]) -> Iterable[str]:
    for name, default in defaults.items():
        held = getattr(value, name)
        if held != default:
            yield f"{name}=({line(held)})" if is_dataclass(held) else f"{name}={held}"


@cache
def _defaults(kind: type[Any]) -> Mapping[str, Any]:
    """The fields by name, each with its default; MISSING, which equals nothing, where it has none."""
    return {field.name: MISSING if field.default is MISSING else field.default for field in fields(kind)}
