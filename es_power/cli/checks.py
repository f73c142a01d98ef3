"""What `es-power doctor` finds: one question, its answer, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from es_power.errors import EsPowerError


class Result(StrEnum):
    """How a check came out."""

    OK = "ok"
    #: Something a person should know or mend; the service runs.
    FINDING = "finding"
    #: The service would not run, or would see nothing.
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Check:
    """One question, its answer, and what to do about it."""

    check: str
    result: Result
    found: str
    mend: str = ""


def failed(check: str, error: EsPowerError) -> Check:
    """Our errors say what is wrong and, behind a semicolon, what to do."""
    found, _, mend = str(error).rpartition("; ")
    return Check(check, Result.FAILED, found or mend, mend if found else "")
