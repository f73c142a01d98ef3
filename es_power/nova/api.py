"""What is asked of Nova, each question with a deadline; reads are tried again until then, a stop never is.

Microversion 2.1, which every Nova since Kilo has, gives an administrator all that is asked for here; `actions` asks for
2.21, so that those of deleted instances are given too.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import urlencode

import trio

from es_power.chance import uniform
from es_power.domain.events import InstanceId
from es_power.errors import (
    NovaAnswerError,
    NovaOutcomeUnknownError,
    NovaRefusedError,
    NovaUnavailableError,
)
from es_power.identity import package_version
from es_power.nova.exchange import Answer, Passage, Request
from es_power.nova.records import InstanceAction, ServerRecord, read_actions, read_fault, read_page, read_server

if TYPE_CHECKING:
    from es_power.nova.wire import Wire

AT_ONCE: Final = 8
"""Requests on their way at once; threads that hang count until they end, so they cannot pile up."""

MOST_PAGES: Final = 1000
"""A list that has more of them has no end."""

_PAGE: Final = 1000  # Nova gives less where its `max_limit` says so
_MIB: Final = 2**20

#: Who could not take the request now and did nothing. 503 is what Nova's middleware and a proxy say without a backend.
_BUSY: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long one question is asked, and how often; times are seconds."""

    #: From the question to the end of its answer: tokens, every try and every wait in between. A page is one question.
    timeout: float = 20.0
    #: Before the second try; each later wait is twice as long, and each is spread by half.
    first_wait: float = 0.25
    longest_wait: float = 5.0
    #: Bytes of an answer, unpacked.
    limit: int = 64 * _MIB


class NovaApi:
    """One account's view of one Nova. Reads raise NovaError where there is no answer that can be used.

    That is NovaUnavailableError (nobody answers in time), NovaRefusedError (the account may not) or NovaAnswerError
    (what answers is not Nova, or not of a kind that this version understands). None of them says anything about an
    instance.
    """

    def __init__(self, wire: "Wire", patience: Patience) -> None:
        self._wire = wire
        self._patience = patience
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    @classmethod
    async def connect(cls, *, cloud: str | None = None, patience: Patience | None = None) -> Self:
        """Read clouds.yaml and the OS_* variables, as every OpenStack client does; nobody is asked anything yet.

        SettingsError says what is missing.
        """
        patience = patience or Patience()

        def connect() -> "Wire":
            # A quarter of a second, which no command that asks no Nova has to wait for.
            from es_power.nova import wire  # noqa: PLC0415

            return wire.connect(cloud, timeout=patience.timeout, version=package_version())

        return cls(await trio.to_thread.run_sync(connect), patience)

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._wire.close()

    # ------------------------------------------------------------------------------------------------------- reads

    async def servers(self, *, host: str, changes_since: datetime | None = None) -> Sequence[ServerRecord]:
        """All instances of a host, of all projects, by Nova's name of the host; in no order.

        With `changes_since`, which has a zone, only those that were touched since that second; deleted ones (vm_state
        `deleted`) are among them then. Nova leaves out those of a cell that does not answer, so an instance that is
        not in the list has to be asked for by its id. It leaves out those that moved away in any case.
        """
        query = {"all_tenants": "1", "host": host, "limit": str(_PAGE)}
        if changes_since is not None:
            if changes_since.tzinfo is None:
                raise ValueError(f"{changes_since.isoformat()} has no time zone; add one (for example Z)")
            query["changes-since"] = changes_since.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        records: list[ServerRecord] = []
        markers: set[str] = set()
        while len(markers) < MOST_PAGES:
            page, marker = read_page(await self._page(query, is_first=not markers))
            records += page
            if marker is None:
                return records
            if marker in markers:
                raise NovaAnswerError(f"Nova's list of the servers of {host} leads back to {marker} again and again")
            markers.add(marker)
            query["marker"] = marker
        raise NovaAnswerError(f"Nova's list of the servers of {host} has more than {MOST_PAGES} pages")

    async def server(self, instance: InstanceId) -> ServerRecord | None:
        """One instance; None where Nova knows none, or none any more (404, in Nova's own words)."""
        path = f"/servers/{instance}"
        answer = await self._read(path)
        if _is_unknown(answer):
            return None
        record = read_server(_good(answer, path))
        if record.instance != instance:
            raise NovaAnswerError(f"Nova was asked for {instance} and answered about {record.instance}")
        return record

    async def actions(self, instance: InstanceId) -> Sequence[InstanceAction]:
        """What was done to an instance, the latest first; nothing where Nova does not know it any more."""
        path = f"/servers/{instance}/os-instance-actions"
        answer = await self._read(path, microversion="2.21")
        if _is_unknown(answer):
            return ()
        return read_actions(_good(answer, path))

    async def _page(self, query: dict[str, str], *, is_first: bool) -> bytes:
        path = f"/servers/detail?{urlencode(query)}"
        try:
            return _good(await self._read(path), path)
        except NovaRefusedError as error:
            if error.status == HTTPStatus.BAD_REQUEST and not is_first:
                raise NovaUnavailableError(
                    "the instance at which Nova's list was to go on was deleted meanwhile; it has to be read again"
                ) from error
            raise

    async def _read(self, path: str, *, microversion: str = "2.1") -> Answer:
        """Ask until there is an answer, other than that Nova cannot give one now, or the time is over."""
        until = trio.current_time() + self._patience.timeout
        wait = self._patience.first_wait
        while True:
            left = until - trio.current_time()
            try:
                answer = await self._exchange(self._request("GET", path, within=left, microversion=microversion))
            except NovaUnavailableError as error:
                failure = error
            else:
                if answer.status not in _BUSY and answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                    return answer
                failure = _busy(answer, path)
            # Spread, so that those who were turned away together do not come back together.
            pause = failure.retry_after or wait * uniform(0.5, 1.5)
            if trio.current_time() + pause >= until:
                raise failure
            await trio.sleep(pause)
            wait = min(2 * wait, self._patience.longest_wait)

    # -------------------------------------------------------------------------------------------------------- stop

    async def stop(self, instance: InstanceId, *, send_within: float | None = None) -> str | None:
        """Ask Nova to stop an instance (os-stop), once; give the id of the request, by which Nova's logs have it.

        It goes out within `send_within` seconds or not at all. What is raised says what is known:

        ========================  ==========================================================================
        returns                   202: accepted. The instance is off when Nova says so, later.
        NovaRefusedError          3xx and 4xx but those below: nothing was done, and asked again Nova would say
                                  the same. 409 is an instance in another state or with a task; 401 comes here
                                  after a second try with a new token.
        NovaUnavailableError      no connection, no token, not sent in time; 408, 429, 503: nothing was done,
                                  and it may be tried again.
        NovaOutcomeUnknownError   it went out and no answer came, or 500, 502, 504 and whatever else: Nova may
                                  have begun before that. It is looked for and never repeated.
        ========================  ==========================================================================
        """
        passage = Passage() if send_within is None else Passage(until=time.monotonic() + send_within)
        path = f"/servers/{instance}/action"
        answer = await self._exchange(
            self._request("POST", path, within=self._patience.timeout, json={"os-stop": None}, passage=passage)
        )
        if answer.status == HTTPStatus.ACCEPTED:
            return answer.request_id
        if answer.status in _BUSY:
            raise _busy(answer, path)
        if HTTPStatus.MULTIPLE_CHOICES <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _refused(answer, path)
        raise NovaOutcomeUnknownError(f"Nova may have begun to stop {instance}: {_said(answer)}")

    # ---------------------------------------------------------------------------------------------------- one request

    def _request(
        self,
        method: str,
        path: str,
        *,
        within: float,
        json: dict[str, object] | None = None,
        passage: Passage | None = None,
        microversion: str = "2.1",
    ) -> Request:
        return Request(
            method=method,
            path=path,
            json=json,
            microversion=microversion,
            limit=self._patience.limit,
            deadline=time.monotonic() + within,
            passage=passage or Passage(),
        )

    async def _exchange(self, request: Request) -> Answer:
        undone = True
        try:
            with trio.fail_after(max(0.0, request.deadline - time.monotonic())):
                try:
                    return await trio.to_thread.run_sync(
                        self._wire.exchange, request, abandon_on_cancel=True, limiter=self._limiter
                    )
                finally:
                    # The thread may live on, in a call that hangs; it sends nothing from here on.
                    undone = request.passage.close()
        except trio.TooSlowError as error:
            if undone or request.is_read:
                raise NovaUnavailableError(
                    f"Nova did not answer within {self._patience.timeout:g} s; is its API, or Keystone, overloaded?"
                ) from error
            raise NovaOutcomeUnknownError(
                f"the request went out and Nova did not answer within {self._patience.timeout:g} s"
            ) from error


def _good(answer: Answer, path: str) -> bytes:
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        raise _refused(answer, path)
    return answer.body


def _busy(answer: Answer, path: str) -> NovaUnavailableError:
    return NovaUnavailableError(f"Nova cannot answer {path} now: {_said(answer)}", retry_after=answer.retry_after)


def _refused(answer: Answer, path: str) -> NovaRefusedError:
    hints: dict[int, str] = {
        HTTPStatus.UNAUTHORIZED: "a new token was not taken either; check that Keystone and Nova belong together",
        HTTPStatus.FORBIDDEN: "give the account the role admin, or what Nova's policy asks for in its place",
        HTTPStatus.NOT_FOUND: "is the compute endpoint of Keystone's catalogue Nova's?",
    }
    hint = None if _is_unknown(answer) else hints.get(answer.status)
    if answer.status < HTTPStatus.BAD_REQUEST:
        hint = "it redirects; set compute_endpoint_override in clouds.yaml to where Nova is"
    return NovaRefusedError(
        f"Nova refuses {path}: {_said(answer)}" + (f"; {hint}" if hint else ""), status=answer.status
    )


def _is_unknown(answer: Answer) -> bool:
    """Whether Nova does not know the instance, in its own words; anybody on the way may say 404 of an address."""
    return answer.status == HTTPStatus.NOT_FOUND and read_fault(answer.body)[0] == "itemNotFound"


def _said(answer: Answer) -> str:
    return f"{answer.status} {read_fault(answer.body)[1]}".strip()
