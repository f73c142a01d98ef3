"""What Nova's answers say, taken out of their JSON.

An answer that is no answer of Nova's is a NovaAnswerError. One entry that cannot be read is none: it is left out with
a warning, so that an instance in a state that a later Nova invents does not hide its neighbours.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import msgspec
import structlog
from msgspec import Raw, Struct, field

from es_power.domain.events import InstanceId
from es_power.domain.states import PowerState, VmState
from es_power.errors import NovaAnswerError

_POWER_STATES: Final = {state.number: state for state in PowerState}
_UNREADABLE: Final = (msgspec.DecodeError, ValueError, RecursionError)  # the last: brackets in brackets without end

T = TypeVar("T")
S = TypeVar("S", bound=Struct)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRecord:
    """Nova's record of an instance. Times are Nova's text: UTC, RFC 3339."""

    instance: InstanceId
    #: What its owner calls it; not unique.
    name: str
    vm_state: VmState
    task_state: str | None
    power_state: PowerState
    #: OS-EXT-SRV-ATTR:host; None where it has none, or where the account may not see it.
    host: str | None
    #: OS-EXT-SRV-ATTR:hypervisor_hostname, which is what libvirt calls the host.
    node: str | None
    created: str | None
    updated: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceAction:
    """One entry of os-instance-actions: what was done to an instance, and by whom."""

    #: Nova's word for it, such as `stop`.
    action: str
    request_id: str
    #: Who asked, and for which project; None where Nova's power sync did.
    user_id: str | None
    project_id: str | None
    #: UTC, ISO 8601, without a zone.
    start_time: str
    message: str | None = None


# --------------------------------------------------------------------------------------------------- the wire models


class _Link(Struct):
    rel: str = ""
    href: str = ""


class _Page(Struct):
    servers: list[Raw]
    servers_links: list[_Link] = []


class _One(Struct):
    server: Raw


class _Actions(Struct):
    actions: list[Raw] = field(name="instanceActions")


class _Server(Struct):
    id: UUID
    vm_state: VmState = field(name="OS-EXT-STS:vm_state")
    task_state: str | None = field(name="OS-EXT-STS:task_state")
    power_state: int = field(name="OS-EXT-STS:power_state")
    name: str = ""
    host: str | None = field(name="OS-EXT-SRV-ATTR:host", default=None)
    node: str | None = field(name="OS-EXT-SRV-ATTR:hypervisor_hostname", default=None)
    created: str | None = None
    updated: str | None = None


class _Fault(Struct):
    message: str = ""


# ----------------------------------------------------------------------------------------------------------- reading


def read_page(body: bytes) -> tuple[Sequence[ServerRecord], str | None]:
    """Read a page of servers, and the marker of the next one; None after the last."""
    page = _decode(body, _Page, "a page of servers")
    records = list(_each(page.servers, _record, "server"))
    following = [link.href for link in page.servers_links if link.rel == "next"]
    if not following:
        return records, None
    # Only the marker is taken: behind a proxy the rest of the link often leads nowhere.
    try:
        [marker] = parse_qs(urlsplit(following[0]).query).get("marker", [])[:1]
    except ValueError as error:
        raise NovaAnswerError(f"Nova's link to the next page of servers has no marker: {following[0][:200]}") from error
    return records, marker


def read_server(body: bytes) -> ServerRecord:
    """Read the answer to a question for one server."""
    one = _decode(body, _One, "a server")
    try:
        return _record(one.server)
    except _UNREADABLE as error:
        raise NovaAnswerError(f"Nova's answer about one server cannot be read: {error}") from error


def read_actions(body: bytes) -> Sequence[InstanceAction]:
    """Read what was done to an instance, the latest first."""
    return list(_each(_decode(body, _Actions, "instance actions").actions, _action, "instance action"))


def read_fault(body: bytes) -> tuple[str | None, str]:
    """Read the kind and the message of a refusal; None and the raw beginning where it is not in Nova's words."""
    try:
        [(kind, fault)] = msgspec.json.decode(body, type=dict[str, _Fault]).items()
    except _UNREADABLE:
        return None, " ".join(body[:200].decode(errors="replace").split())
    return kind, fault.message


def _decode(body: bytes, kind: type[S], asked: str) -> S:
    try:
        return msgspec.json.decode(body, type=kind)
    except _UNREADABLE as error:
        raise NovaAnswerError(
            f"Nova was asked for {asked}, and {len(body)} bytes came that are none ({error}): "
            f"{body[:80].decode(errors='replace')!r}; is something in between that answers in its place?"
        ) from error


def _each(entries: Sequence[Raw], read: Callable[[Raw], T], kind: str) -> Iterator[T]:
    for entry in entries:
        try:
            yield read(entry)
        except _UNREADABLE as error:
            text = bytes(entry)[:300].decode(errors="replace")
            structlog.get_logger().warning(f"Nova lists a {kind} that cannot be read", error=str(error), entry=text)


def _record(entry: Raw) -> ServerRecord:
    server = msgspec.json.decode(entry, type=_Server)
    if server.power_state not in _POWER_STATES:
        raise ValueError(f"the power_state {server.power_state} is none of Nova's (nova/compute/power_state.py)")
    return ServerRecord(
        instance=InstanceId(server.id),
        name=server.name,
        vm_state=server.vm_state,
        task_state=server.task_state,
        power_state=_POWER_STATES[server.power_state],
        host=server.host,
        node=server.node,
        created=server.created,
        updated=server.updated,
    )


def _action(entry: Raw) -> InstanceAction:
    return msgspec.json.decode(entry, type=InstanceAction)
