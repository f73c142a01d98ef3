"""Keystone and Nova as a client over HTTP sees them: the rig's own eyes and hands, independent of es_power's."""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_MICROVERSIONS = "compute 2.96,placement 1.39"


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who asks: a user of the domain Default, in a project of it."""

    name: str
    password: str
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a service said."""

    status: int
    headers: http.client.HTTPMessage
    body: Any

    def good(self) -> Any:
        """The body; RuntimeError where the service refused."""
        if self.status >= http.HTTPStatus.BAD_REQUEST:
            raise RuntimeError(f"{self.status}: {self.body}")
        return self.body


class Cloud:
    """A client with one person's token, which it takes anew where it has expired."""

    def __init__(self, person: Person, *, identity: str, compute: str) -> None:
        self.person = person
        self._identity = identity
        self._compute = compute
        self._token: str | None = None

    def token(self) -> Answer:
        """A new token: ``X-Subject-Token`` among the headers, who and where and the catalogue in the body."""
        domain = {"id": "default"}
        user = {"name": self.person.name, "domain": domain, "password": self.person.password}
        identity = {"methods": ["password"], "password": {"user": user}}
        scope = {"project": {"name": self.person.project, "domain": domain}}
        body = {"auth": {"identity": identity, "scope": scope}}
        return _request("POST", f"{self._identity}/auth/tokens", {}, body)

    def identity(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask Keystone: ``identity("GET", "/users")``."""
        return self.ask(method, f"{self._identity}{path}", body)

    def compute(self, method: str, path: str, body: Any = None) -> Answer:
        """Ask Nova: ``compute("GET", "/servers/detail?all_tenants=1")``."""
        return self.ask(method, f"{self._compute}{path}", body)

    def compute_with(self, token: str, path: str) -> Answer:
        """Read from Nova with that token and no other, whether or not it is good."""
        return _request("GET", f"{self._compute}{path}", {"X-Auth-Token": token}, None)

    def ask(self, method: str, url: str, body: Any = None) -> Answer:
        """Ask anybody who takes Keystone's tokens."""
        answer = self._once(method, url, body)
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            self._token = None
            answer = self._once(method, url, body)
        return answer

    def _once(self, method: str, url: str, body: Any) -> Answer:
        if self._token is None:
            taken = self.token()
            taken.good()
            self._token = taken.headers["X-Subject-Token"]
        return _request(method, url, {"X-Auth-Token": self._token, "OpenStack-API-Version": _MICROVERSIONS}, body)


def _request(method: str, url: str, headers: Mapping[str, str], body: Any) -> Answer:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    try:
        text = None if body is None else json.dumps(body)
        connection.request(
            method, url.partition(parts.netloc)[2], text, {"Content-Type": "application/json", **headers}
        )
        response = connection.getresponse()
        data = response.read()
        is_json = data and response.headers.get_content_type() == "application/json"
        return Answer(
            status=response.status, headers=response.headers, body=json.loads(data) if is_json else data.decode()
        )
    finally:
        connection.close()
