"""A real Nova as a test meets it: servers, their guests in libvirt, and the services that a test may break.

A server's guest is a domain of libvirt's test driver in a real libvirtd (`compute.py` says how), so that es_power
observes what Nova believes to run. `services.py` says what is real and what is not.
"""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.nova.cloud import Answer, Cloud, Person
from tests.nova.programs import wait_until
from tests.nova.services import FLAVOR, OPERATOR, Services
from tests.nova.settings import REGION
from tests.nova.stub_services import IMAGE
from tests.rigs.actor import Actor, actor
from tests.rigs.libvirtd import Libvirtd, libvirtd


class NovaRig:
    """The running services, and what a test does to them and asks of them.

    `services` holds the programs themselves (``rig.services.keystone.hang()``).
    """

    def __init__(self, services: Services, daemon: Libvirtd, guests: Actor) -> None:
        self.services = services
        self.libvirtd = daemon
        self.admin = services.admin
        self._guests = guests

    # ------------------------------------------------------------------------------------------------- for es_power

    @property
    def uri(self) -> str:
        """Where es_power observes the guests of this Nova's host; there is one domain too that Nova does not know."""
        return self.libvirtd.uri("test")

    def environment(self, person: Person = OPERATOR) -> dict[str, str]:
        """A person's credentials as variables, as every OpenStack client reads them."""
        return {
            "OS_AUTH_URL": self.services.ports.identity,
            "OS_USERNAME": person.name,
            "OS_PASSWORD": person.password,
            "OS_PROJECT_NAME": person.project,
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def write_clouds_yaml(self, path: Path, *, name: str = "rig", person: Person = OPERATOR) -> Path:
        """Write a person's credentials as ``clouds.yaml``, under that cloud's name."""
        path.write_text(
            f"clouds:\n  {name}:\n    region_name: {REGION}\n    auth_type: password\n    auth:\n"
            f"      auth_url: {self.services.ports.identity}\n      username: {person.name}\n"
            f"      password: {person.password}\n      project_name: {person.project}\n"
            f"      user_domain_id: default\n      project_domain_id: default\n"
        )
        return path

    def application_credential(self, name: str) -> dict[str, str]:
        """A new application credential of the operator: its id and secret."""
        operator = self.services.client()
        user = operator.token().good()["token"]["user"]["id"]
        wanted = {"application_credential": {"name": name}}
        made = operator.identity("POST", f"/users/{user}/application_credentials", wanted).good()
        return {key: made["application_credential"][key] for key in ("id", "secret")}

    def environment_of(self, credential: dict[str, str]) -> dict[str, str]:
        """An application credential as variables."""
        return {
            "OS_AUTH_TYPE": "v3applicationcredential",
            "OS_AUTH_URL": self.services.ports.identity,
            "OS_APPLICATION_CREDENTIAL_ID": credential["id"],
            "OS_APPLICATION_CREDENTIAL_SECRET": credential["secret"],
            "OS_REGION_NAME": REGION,
            "OS_IDENTITY_API_VERSION": "3",
        }

    def expire_tokens(self, person: Person = OPERATOR) -> None:
        """Make every token of a person worthless, as time would; returns as soon as a new one is good.

        Keystone revokes what it gave to a user who is disabled, to the second, so new ones come a second later.
        """
        user = self.services.client(person).token().good()["token"]["user"]["id"]
        for enabled in (False, True):
            self.admin.identity("PATCH", f"/users/{user}", {"user": {"enabled": enabled}}).good()
        wait_until(
            lambda: self.services.client(person).compute("GET", "/servers?limit=1").status == 200, "a new token is good"
        )

    # ----------------------------------------------------------------------------------------------------- servers

    def boot(self, *names: str) -> list[str]:
        """Create servers and wait until they are ACTIVE; their UUIDs."""
        servers = [
            {"name": name, "flavorRef": FLAVOR, "imageRef": IMAGE, "networks": "none", "availability_zone": "nova"}
            for name in names
        ]
        made = [self.admin.compute("POST", "/servers", {"server": server}).good()["server"]["id"] for server in servers]
        for server in made:
            self.until(server, "ACTIVE")
        return made

    def server(self, uuid: str) -> dict[str, Any]:
        """What Nova says about one server now."""
        found: dict[str, Any] = self.admin.compute("GET", f"/servers/{uuid}").good()["server"]
        return found

    def servers(self) -> list[dict[str, Any]]:
        """What Nova lists, of all projects."""
        found: list[dict[str, Any]] = self.admin.compute("GET", "/servers/detail?all_tenants=1").good()["servers"]
        return found

    def until(self, uuid: str, status: str) -> dict[str, Any]:
        """Wait until a server has that status and no task, and give what Nova says about it."""
        seen: dict[str, Any] = {}

        def settled() -> bool:
            seen.update(self.server(uuid))
            if seen["status"] == "ERROR" != status:
                raise RuntimeError(f"server {uuid} is in ERROR: {seen.get('fault')}")
            return seen["status"] == status and seen["OS-EXT-STS:task_state"] is None

        wait_until(settled, f"server {uuid} was {status}")
        return seen

    def act(self, uuid: str, action: str, argument: Any = None) -> Answer:
        """Have Nova do something to a server, as a user would: ``act(uuid, "os-stop")``."""
        return self.admin.compute("POST", f"/servers/{uuid}/action", {action: argument})

    def actions(self, uuid: str) -> list[dict[str, Any]]:
        """Nova's history of a server, the latest first: action, user_id, request_id, start_time, message."""
        path = f"/servers/{uuid}/os-instance-actions"
        history: list[dict[str, Any]] = self.admin.compute("GET", path).good()["instanceActions"]
        return history

    def delete(self, uuid: str) -> None:
        """Delete a server and wait until it is gone."""
        self.admin.compute("DELETE", f"/servers/{uuid}").good()
        wait_until(lambda: self.admin.compute("GET", f"/servers/{uuid}").status == 404, f"server {uuid} was gone")

    def guest(self, uuid: str, method: str, *arguments: object) -> None:
        """Do something to a server's libvirt domain beside Nova: ``guest(uuid, "shutdown")``, or create, or suspend."""
        self._guests.act(self.server(uuid)["OS-EXT-SRV-ATTR:instance_name"], method, *arguments)

    def sql(self, statement: str) -> list[dict[str, str | None]]:
        """Run SQL on the database of Nova's cell, and give its rows as text."""
        client = (
            "mariadb",
            "--no-defaults",
            "-h127.0.0.1",
            f"-P{self.services.ports.database}",
            "-uroot",
            "--batch",
            "--raw",
        )
        done = subprocess.run([*client, "-e", statement, "nova_cell1"], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        heading, *lines = (line.split("\t") for line in done.stdout.splitlines() or [""])
        return [
            {name: None if value == "NULL" else value for name, value in zip(heading, line, strict=True)}
            for line in lines
        ]

    # ---------------------------------------------------------------------------------------------------- services

    def client(self, person: Person = OPERATOR) -> Cloud:
        """A client with a token of its own."""
        return self.services.client(person)

    def kill_api(self) -> None:
        """End Nova's API as a crash would, in the middle of any request; afterwards nobody listens there."""
        self.services.kill_api()

    def start_api(self) -> None:
        """Start Nova's API where it does not run, and wait until it answers."""
        self.services.start_api()

    def restart_compute(self, *, sync_seconds: int | None = None) -> None:
        """Kill nova-compute and start it again, where wanted with another spacing of Nova's own power sync."""
        self.services.restart_compute(sync_seconds=sync_seconds)


@contextmanager
def nova_rig(*, sync_seconds: int = -1) -> Iterator[NovaRig]:
    """Run a Nova of one's own; its own power sync is off, since es_power acts instead, unless a spacing is given."""
    with tempfile.TemporaryDirectory(prefix="es-power-nova-") as name, libvirtd() as daemon:
        uri = daemon.uri("test")
        with actor(uri) as guests:
            # Its connection keeps the test driver's domains in being: they end with the last one.
            guests.act("test", "isActive")
            services = Services(Path(name), guests=uri, sync_seconds=sync_seconds)
            try:
                services.start()
                yield NovaRig(services, daemon, guests)
            finally:
                services.stop()
