"""Every error es_power raises on purpose: one hierarchy, on one screen.

The message defaults to the first line of the class docstring; data is in attributes, never only in the text.
``transient`` tells a caller whether trying again later can help. Absence is data, not an error.
"""

from collections.abc import Sequence
from typing import ClassVar
from uuid import UUID


class EsPowerError(Exception):
    """Base class; catch this to catch everything es_power raises on purpose."""

    #: Whether the same call may succeed later without anybody's help.
    transient: ClassVar[bool] = False
    #: The exit code of a command that ends with this error; docs/reference/exit-codes.md says what each means.
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str | None = None) -> None:
        doc = type(self).__doc__ or type(self).__name__
        super().__init__(message or doc.strip().splitlines()[0])


class SettingsError(EsPowerError):
    """The settings have mistakes; every one of them is listed."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class LogError(EsPowerError):
    """The event log could not be read or written."""


class LogUnavailableError(LogError):
    """The log's database does not answer, is locked, full or read-only."""

    transient = True
    exit_code = 5


class LogFullError(LogUnavailableError):
    """The disk that holds the log is full."""


class LogNotFoundError(LogError):
    """There is no log at this place."""

    exit_code = 3


class LogSchemaError(LogError):
    """The log was written by another version of es_power than this one can serve."""


class ConcurrentAppendError(LogError):
    """Another writer appended to the same stream first."""

    def __init__(self, stream: str, *, expected: int, actual: int) -> None:
        self.stream, self.expected, self.actual = stream, expected, actual
        super().__init__(f"stream {stream} is at version {actual}, not {expected}: another writer appended to it")


class LeaseHeldError(LogError):
    """Another service observes this host into this log, or acts for it."""

    def __init__(self, stream: str, holder: str) -> None:
        self.stream, self.holder = stream, holder
        super().__init__(f"{stream} is held by {holder}; stop that service first, or give this one another log")


class TakenOverError(LogError):
    """Another service took over this host's stream; this one has to stop."""

    def __init__(self, stream: str, holder: str) -> None:
        self.stream, self.holder = stream, holder
        super().__init__(f"{stream} was taken over by {holder}; this service stops, nothing of it was added since")


class LogRewoundError(LogError):
    """The log, or a stream of it, lacks what was read from it or written to it before."""

    def __init__(self, *, checkpoint: int, head: int, stream: str | None = None) -> None:
        self.checkpoint, self.head, self.stream = checkpoint, head, stream
        if stream is not None:
            found = f"stream {stream} ends at version {head}, but {checkpoint} was written to it"
        elif head < checkpoint:
            found = f"the log ends at {head}, but {checkpoint} was read from it"
        else:
            found = f"record {checkpoint} is another one than was read"
        super().__init__(
            f"{found} before: the log was replaced by an older copy, or its database failed over to one that lacks the "
            "rest; where that is meant, stop all that use it and run `es-power restore --accept-rewind`"
        )


class BackupError(LogError):
    """A backup cannot be written or put back; the message says what is in the way."""


class PruneError(LogError):
    """A log cannot be pruned so far; the message says why, and what to do."""


class UnknownEventError(LogError):
    """A record's topic or content is not one that this version understands."""

    def __init__(self, topic: str, *, position: int | None = None, reason: str = "unknown topic") -> None:
        self.topic, self.position, self.reason = topic, position, reason
        #: Where it stands, and which VM it is about, as far as that could be read.
        self.stream: str = ""
        self.instance: UUID | None = None
        where = f"record {position}" if position is not None else "record"
        super().__init__(f"{where} ({topic}) cannot be read: {reason}")


class SealBrokenError(LogError):
    """A record's hash does not match its content or the record before it."""

    exit_code = 4

    def __init__(self, position: int, *, reason: str) -> None:
        self.position, self.reason = position, reason
        super().__init__(f"record {position} was changed or damaged: {reason}")


class RecordPrunedError(LogError):
    """What is asked for lies in a part of the log that was pruned; an archive has it."""

    exit_code = 3

    def __init__(self, position: int | None = None, *, pruned: int, archive: str = "", since: str = "") -> None:
        self.position, self.pruned, self.archive = position, pruned, archive
        told = f"and position {position} is none after that" if position is not None else f"which is until {since}"
        super().__init__(
            f"what was observed up to position {pruned} was pruned, {told}: ask of what came after it, or ask its "
            f"archive{f' {archive}' if archive else ''}, which is a log too (--log)"
        )


class RecordNotFoundError(LogError):
    """No record stands at that position."""

    exit_code = 3


class NotSealedError(LogError):
    """No checkpoint covers that record yet."""

    exit_code = 3


class NoteError(EsPowerError):
    """A text is no checkpoint, or no key, of the form that C2SP's signed-note gives it."""


class DossierError(EsPowerError):
    """A part of the log for an auditor cannot be written there."""


class KeyFileError(EsPowerError):
    """The file of the key that signs checkpoints cannot be read, or may not be where it is."""


class TablesDamagedError(EsPowerError):
    """The tables beside the log cannot be read."""

    exit_code = 4

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"the tables beside the log are damaged ({reason}); nothing of the log is lost by that: "
            "`es-power replay --rebuild` makes them anew"
        )


class HypervisorError(EsPowerError):
    """libvirt answered with an error."""


class HypervisorUnavailableError(HypervisorError):
    """libvirt cannot be reached; that says nothing about its VMs."""

    transient = True
    exit_code = 5


class HypervisorDeniedError(HypervisorUnavailableError):
    """libvirt does not let this user in."""


class NovaError(EsPowerError):
    """Nova's API gave no answer that can be used."""


class NovaUnavailableError(NovaError):
    """Nova's API cannot be reached; that says nothing about its instances.

    Of a stop: nothing was done, so it may be tried again. `retry_after` is for how many seconds Nova wants
    to be left alone.
    """

    transient = True
    exit_code = 5

    def __init__(self, message: str | None = None, *, retry_after: float | None = None) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class NovaAnswerError(NovaError):
    """What came from Nova's address is not an answer of Nova's: broken off, not JSON, of another shape or too long."""


class NovaRefusedError(NovaError):
    """Nova or Keystone understood the request and refuses it; asked again, they would say the same."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class NovaOutcomeUnknownError(NovaError):
    """A stop went out and no answer says what became of it; it has to be observed, and never repeated."""


class NovaVouchesError(EsPowerError):
    """Nova vouches for the instance, and its word is before a person's."""


class InstanceNotFoundError(EsPowerError):
    """No VM of that name or UUID is known to this log."""

    exit_code = 3


class CommandNotFoundError(EsPowerError):
    """No stop command of that id is in the log."""

    exit_code = 3


class CommandStateError(EsPowerError):
    """The stop command is at a point where that cannot be done; the message says where it is and what can be done."""


class ActorUnavailableError(EsPowerError):
    """No actor answers at its socket."""

    transient = True
    exit_code = 5


class ActorRefusedError(EsPowerError):
    """An actor says what speaks against a wish; its own exit code comes with it."""

    def __init__(self, message: str, *, exit_code: int) -> None:
        super().__init__(message)
        # An instance's is before the class's.
        self.exit_code = exit_code  # type: ignore[misc]


class ListenError(EsPowerError):
    """An address or socket cannot be listened at; the message names the setting."""


class ServiceUnavailableError(EsPowerError):
    """No service answers at its socket."""

    transient = True
    exit_code = 5


class TokenNotFoundError(EsPowerError):
    """No such token stands."""

    exit_code = 3


class HoldNotFoundError(EsPowerError):
    """No such hold stands."""

    exit_code = 3


class BreakerNotOpenError(EsPowerError):
    """The host's breaker is not open."""

    exit_code = 3


class TextNotFoundError(EsPowerError):
    """No text in the log names that."""

    exit_code = 3


class AmbiguousNameError(EsPowerError):
    """More than one VM fits that name; say which by UUID or HOST/NAME."""

    exit_code = 2


class ReplayDivergedError(EsPowerError):
    """Replaying the log derives something else than what was recorded."""

    exit_code = 4

    def __init__(self, position: int, *, recorded: str, derived: str) -> None:
        self.position, self.recorded, self.derived = position, recorded, derived
        super().__init__(f"at position {position} the log says {recorded}, a replay derives {derived}")
