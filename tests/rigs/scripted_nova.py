"""A Nova and a Keystone on loopback that do what a test says: a small memory of servers, and faults on demand.

    with scripted_nova() as nova:
        nova.add(vm(1), host="kvm-07")                     # an ACTIVE server; fields may be given by Nova's names
        os.environ |= nova.environment                     # OS_* variables; or nova.clouds(path, ...): a clouds.yaml
        nova.fail("GET /servers/detail", Reply(status=503))  # the next such request gets this instead of an answer
        nova.fail("POST action", Reply.cut())              # or: late(), cut(), endless(), status=..., body=...
        ...
        assert nova.asked("POST action") == 1

What is not failed is answered as Nova 34 answers it: lists are paged by `page` servers, filtered by host and
changes-since, refused without a token; `os-stop` is a 202 for an ACTIVE server (which is off at once) and a 409 for
others; 404 for what is not there. `revoke_tokens` makes every token given so far worth a 401. A stop that is failed by
``Reply(does=True, ...)`` has happened all the same.

Requests are named by a method and a part of the path; of several that fit, the one named first is taken. Everything
runs in threads of the test's own process, over real sockets.
"""

import json
import socket
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit
from uuid import UUID, uuid4

_VM_STATE = "OS-EXT-STS:vm_state"
_TASK_STATE = "OS-EXT-STS:task_state"
_POWER_STATE = "OS-EXT-STS:power_state"
_HOST = "OS-EXT-SRV-ATTR:host"
_NODE = "OS-EXT-SRV-ATTR:hypervisor_hostname"

PASSWORD = "lab"


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What a request gets in the place of an answer."""

    status: int | None = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    #: Bytes that Content-Length promises beyond the body, after which the connection is closed.
    missing: int = 0
    #: Set by the test to let the reply go; not awaited for longer than the server lives.
    after: threading.Event | None = None
    #: The body again and again, until nobody listens.
    repeat: bool = False
    #: Whether what was asked for happens all the same.
    does: bool = False
    #: Answered as without a fault, but `after`.
    as_usual: bool = False

    @classmethod
    def json(cls, content: object, **options: Any) -> "Reply":
        return cls(body=json.dumps(content).encode(), **options)

    @classmethod
    def cut(cls, *, does: bool = False) -> "Reply":
        """The connection is closed without a word."""
        return cls(status=None, does=does)

    @classmethod
    def late(cls, after: threading.Event) -> "Reply":
        """What is asked for happens at once, and is answered when the test says so."""
        return cls(after=after, as_usual=True)

    @classmethod
    def endless(cls) -> "Reply":
        return cls(body=b" " * 65_536, repeat=True)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    def fits(self, name: str) -> bool:
        method, _, part = name.partition(" ")
        return method == self.method and part in self.path


class ScriptedNova:
    """See the module."""

    def __init__(self) -> None:
        #: Servers as Nova's API shows them, by id; tests may change them.
        self.servers: dict[str, dict[str, Any]] = {}
        self.actions: dict[str, list[dict[str, Any]]] = {}
        #: What came in, in order.
        self.seen: list[Seen] = []
        #: How many servers a page has at most.
        self.page = 1000
        #: Nova's URL in Keystone's catalogue; None: with its version.
        self.endpoint: str | None = None
        #: Set when the server ends, for replies that wait.
        self.over = threading.Event()
        self._faults: list[tuple[str, Reply]] = []
        self._tokens: set[str] = set()
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.nova = self
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        """End it; whoever still waits for an answer gets none."""
        self.over.set()
        self._server.shutdown()
        self._server.end()
        self._thread.join()

    # ------------------------------------------------------------------------------------------------ for the test

    @property
    def environment(self) -> dict[str, str]:
        """OS_* variables for a password."""
        return {
            "OS_AUTH_URL": f"{self.url}/v3",
            "OS_USERNAME": "admin",
            "OS_PASSWORD": PASSWORD,
            "OS_PROJECT_NAME": "admin",
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": "RegionOne",
        }

    def clouds(self, path: Path, name: str, *, auth_type: str = "password", **auth: str) -> None:
        """Write a clouds.yaml (JSON is YAML) with one cloud."""
        cloud = {"auth_type": auth_type, "auth": {"auth_url": f"{self.url}/v3", **auth}, "region_name": "RegionOne"}
        path.write_text(json.dumps({"clouds": {name: cloud}}))

    def token(self) -> str:
        """A token that is taken."""
        with self._lock:
            self._tokens.add(token := uuid4().hex)
        return token

    def revoke_tokens(self) -> None:
        with self._lock:
            self._tokens.clear()

    def add(self, instance: UUID, *, host: str = "kvm-07", name: str = "", **fields: Any) -> dict[str, Any]:
        """Have a server; `fields` go by Nova's names, those with colons through a mapping."""
        server = {
            "id": str(instance),
            "name": name or f"vm-{instance}",
            "status": "ACTIVE",
            "created": "2026-01-01T00:00:00Z",
            "updated": _now(),
            _VM_STATE: "active",
            _TASK_STATE: None,
            _POWER_STATE: 1,
            _HOST: host,
            _NODE: host,
        } | fields
        with self._lock:
            self.servers[str(instance)] = server
            self.actions[str(instance)] = [_action("create", "user")]
        return server

    def stopped_by_itself(self, instance: UUID) -> None:
        """Let Nova's power sync stop a server: an action without user and project."""
        with self._lock:
            self._stop(str(instance), user=None)

    def fail(self, name: str, *replies: Reply) -> None:
        """Have the next requests of that name get these replies, one each."""
        with self._lock:
            self._faults += [(name, reply) for reply in replies]

    def hang_up(self) -> None:
        """Close the connections that clients keep for their next request."""
        self._server.hang_up()

    def heal(self) -> None:
        """Forget the faults that were not used."""
        with self._lock:
            self._faults.clear()

    def asked(self, name: str) -> int:
        """How many requests of that name came in."""
        with self._lock:
            return sum(each.fits(name) for each in self.seen)

    def wait_asked(self, name: str, count: int = 1, *, timeout: float = 10.0) -> None:
        """Wait, in a thread, until so many requests of that name came in."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.asked(name) >= count, timeout):
                raise TimeoutError(f"{self.asked(name)} of {count} requests {name}")

    # ------------------------------------------------------------------------------------------------ for a handler

    def handle(self, seen: Seen) -> Reply:
        with self._changed:
            self.seen.append(seen)
            self._changed.notify_all()
            for index, (name, reply) in enumerate(self._faults):
                if seen.fits(name):
                    del self._faults[index]
                    usual = self._answer(seen) if reply.does or reply.as_usual else reply
                    return replace(usual, after=reply.after) if reply.as_usual else reply
            return self._answer(seen)

    def _answer(self, seen: Seen) -> Reply:
        match seen.path.strip("/").split("/"):
            case ["v3"]:
                version = {"id": "v3.14", "status": "stable", "links": [{"rel": "self", "href": f"{self.url}/v3/"}]}
                return Reply.json({"version": version})
            case [""]:
                version = {"id": "v2.1", "status": "CURRENT", "version": "2.100", "min_version": "2.1"}
                links = [{"rel": "self", "href": f"{self.url}/v2.1/"}]
                return Reply.json({"versions": [version | {"links": links}]})
            case ["v3", "auth", "tokens"]:
                return self._authenticate(seen)
            case ["v2.1", *rest]:
                if seen.headers.get("x-auth-token") not in self._tokens:
                    return Reply.json(
                        {"error": {"message": "The request you have made requires authentication."}}, status=401
                    )
                return self._compute(seen, rest)
        return Reply.json({"error": {"message": "no such place"}}, status=404)

    def _authenticate(self, seen: Seen) -> Reply:
        identity = seen.body["auth"]["identity"]
        [method] = identity["methods"]
        given = identity[method]
        good = {
            "password": lambda: given["user"]["password"] == PASSWORD,
            "application_credential": lambda: given["secret"] == PASSWORD,
            "token": lambda: given["id"] in self._tokens,
        }
        if not good[method]():
            return Reply.json(
                {"error": {"code": 401, "message": "Wrong credentials", "title": "Unauthorized"}}, status=401
            )
        endpoint = {"id": "1", "interface": "public", "region": "RegionOne", "region_id": "RegionOne"}
        token = {
            "methods": [method],
            "expires_at": "2099-01-01T00:00:00.000000Z",
            "issued_at": _now(),
            "user": {"id": "u", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "project": {"id": "p", "name": "admin", "domain": {"id": "default", "name": "Default"}},
            "roles": [{"id": "r", "name": "admin"}],
            "catalog": [
                {
                    "id": "c",
                    "name": "nova",
                    "type": "compute",
                    "endpoints": [endpoint | {"url": self.endpoint or f"{self.url}/v2.1"}],
                }
            ],
        }
        return Reply.json({"token": token}, status=201, headers={"X-Subject-Token": self.token()})

    def _compute(self, seen: Seen, rest: Sequence[str]) -> Reply:
        match seen.method, rest:
            case "GET", ["servers", "detail"]:
                return self._list(seen)
            case "GET", ["servers", uuid] if uuid in self.servers and not self._is_deleted(uuid):
                return Reply.json({"server": self.servers[uuid]})
            case "GET", ["servers", uuid, "os-instance-actions"] if uuid in self.servers:
                return Reply.json({"instanceActions": self.actions[uuid]})
            case "POST", ["servers", uuid, "action"] if uuid in self.servers and seen.body == {"os-stop": None}:
                server = self.servers[uuid]
                if server[_VM_STATE] not in {"active", "error"} or server[_TASK_STATE]:
                    message = f"Cannot 'stop' instance {uuid} while it is in vm_state {server[_VM_STATE]}"
                    return Reply.json({"conflictingRequest": {"code": 409, "message": message}}, status=409)
                return Reply(status=202, headers={"x-openstack-request-id": self._stop(uuid, user="user")})
        return Reply.json(
            {"itemNotFound": {"code": 404, "message": f"Instance {rest[1:2]} could not be found."}}, status=404
        )

    def _list(self, seen: Seen) -> Reply:
        since = seen.query.get("changes-since")
        found = [
            server
            for uuid, server in self.servers.items()
            if server.get(_HOST) == seen.query["host"]
            and (server["updated"] >= since if since else not self._is_deleted(uuid))
        ]
        if marker := seen.query.get("marker"):
            at = next((n for n, server in enumerate(found) if server["id"] == marker), None)
            if at is None:
                return Reply.json({"badRequest": {"code": 400, "message": f"marker [{marker}] not found"}}, status=400)
            found = found[at + 1 :]
        size = min(self.page, int(seen.query.get("limit", self.page)))
        answer: dict[str, Any] = {"servers": found[:size]}
        if len(found) >= size:  # as Nova: a full page has a next one, perhaps an empty one
            query = urlencode({**seen.query, "marker": found[size - 1]["id"]})
            answer["servers_links"] = [{"rel": "next", "href": f"http://elsewhere.invalid/v2.1/servers/detail?{query}"}]
        return Reply.json(answer)

    def _is_deleted(self, uuid: str) -> bool:
        return self.servers[uuid].get(_VM_STATE) == "deleted"

    def _stop(self, uuid: str, *, user: str | None) -> str:
        action = _action("stop", user)
        self.actions[uuid].insert(0, action)
        self.servers[uuid] |= {_VM_STATE: "stopped", _POWER_STATE: 4, "status": "SHUTOFF", "updated": _now()}
        return str(action["request_id"])


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _action(action: str, user: str | None) -> dict[str, Any]:
    return {
        "action": action,
        "instance_uuid": "",
        "request_id": f"req-{uuid4()}",
        "user_id": user,
        "project_id": user and "project",
        "start_time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.000000"),
        "message": None,
    }


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    nova: ScriptedNova

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: deque[socket.socket] = deque()

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        self._open.append(connection)
        return connection, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is what some tests are about."""

    def hang_up(self) -> None:
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        self.hang_up()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        seen = Seen(
            method=self.command,
            path=parts.path,
            query={name: values[-1] for name, values in parse_qs(parts.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=json.loads(body) if body else None,
        )
        self._send(self.server.nova.handle(seen))

    do_POST = do_GET  # noqa: N815 (the name is the standard library's)

    def _send(self, reply: Reply) -> None:
        while reply.after and not reply.after.wait(0.02):
            if self.server.nova.over.is_set():
                break
        if reply.status is None:
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if reply.repeat:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(reply.body) + reply.missing))
        self.end_headers()
        self.wfile.write(reply.body)
        while reply.repeat and not self.server.nova.over.is_set():
            self.wfile.write(reply.body)
        self.close_connection = bool(reply.missing or reply.repeat)


@contextmanager
def scripted_nova() -> Iterator[ScriptedNova]:
    """Run one, on a port of its own."""
    nova = ScriptedNova()
    try:
        yield nova
    finally:
        nova.close()
