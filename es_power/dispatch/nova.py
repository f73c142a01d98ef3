"""The way by Nova's API: os-stop, which brings record and guest to the same end."""

from typing import TYPE_CHECKING, Protocol

from es_power.dispatch.stopper import Outcome, Result, StillWanted, Stopper
from es_power.domain.decisions import StopVerb
from es_power.domain.events import InstanceId
from es_power.errors import NovaError, NovaRefusedError, NovaUnavailableError


class StopsInstances(Protocol):
    """What of Nova's API this needs; see `es_power.nova.NovaApi.stop` for what it raises, and what each means."""

    async def stop(self, instance: InstanceId, *, send_within: float | None = None) -> str | None:
        """Ask for a stop, once; the id of the request."""


class NovaStopper:
    """Asks Nova, which shuts the guest down by its own shutdown_timeout; it has no force_stop for anybody outside."""

    def __init__(self, nova: StopsInstances) -> None:
        self._nova = nova

    async def stop(
        self,
        instance: InstanceId,
        verb: StopVerb,
        *,
        within: float,
        still_wanted: StillWanted,  # noqa: ARG002
    ) -> Result:
        """Ask for a stop; a 409 is a refusal, since the instance is not as it was when it was looked at."""
        if verb is StopVerb.FORCE_STOP:
            return Result(outcome=Outcome.REFUSED, reason="Nova's API has no force_stop")
        try:
            request_id = await self._nova.stop(instance, send_within=within)
        except NovaRefusedError as error:
            return Result(outcome=Outcome.REFUSED, reason=str(error))
        except NovaUnavailableError as error:
            return Result(outcome=Outcome.NOT_DELIVERED, reason=str(error))
        except NovaError as error:
            return Result(outcome=Outcome.UNKNOWN, reason=str(error))
        return Result(outcome=Outcome.ACCEPTED, reason=f"Nova's request {request_id}" if request_id else "")


if TYPE_CHECKING:
    _promised: type[Stopper] = NovaStopper
