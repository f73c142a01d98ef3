"""The services of a real Nova on loopback, from empty databases to a host that takes servers.

Real are Nova's API, conductor, scheduler and compute, Keystone, Placement, MariaDB and RabbitMQ; Glance and Neutron are
stubs. All of it lives in one folder and on free ports.
"""

import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.nova import settings
from tests.nova.cloud import Cloud, Person
from tests.nova.programs import Program, answers_http, free_ports, listens, wait_until
from tests.nova.settings import ADMIN, HOST, REGION, Ports

ROOT = Path(__file__).parents[2]
BINARIES = ROOT / ".build/nova/bin"

#: The user that es_power is: an administrator, apart from the one that the services use among themselves.
OPERATOR = Person(name="es-power", password="rig-operator", project="admin")

FLAVOR = "rig"

_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_DATABASES = ("keystone", "placement", "nova_api", "nova_cell0", "nova_cell1")
# The one on the path insists on a user and a folder of its own.
_RABBITMQ = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")


def missing_parts() -> str | None:
    """Say what a real Nova lacks here, and what adds it; None where nothing is missing."""
    programs = ("mariadbd", "mariadb", "epmd", "virsh", "libvirtd")
    lacking = [name for name in programs if not shutil.which(name, path=_PATH)]
    lacking += [path.name for path in (_RABBITMQ, BINARIES / "nova-compute") if not path.exists()]
    return f"a real Nova needs {', '.join(lacking)}: 'make test-nova' as root adds them" if lacking else None


class Services:
    """Every program of the rig; each can be hung, killed and started again."""

    def __init__(self, directory: Path, *, guests: str, sync_seconds: int) -> None:
        """Write all settings; `guests` is the URI of the libvirt driver that holds Nova's guests."""
        self.directory = directory
        self.ports = Ports(**dict(zip(Ports.__dataclass_fields__, free_ports(9), strict=True)))
        self.admin = self.client(ADMIN)
        self.database_client = ("mariadb", "--no-defaults", f"--socket={directory}/database.sock", "-uroot")
        self._programs: list[Program] = []
        self._write_settings(sync_seconds)
        ports = self.ports
        self.database = self._add("mariadbd", *self._database_command())
        self.epmd = self._add("epmd", "epmd", "-address", "127.0.0.1", "-port", str(ports.epmd))
        self.queue = self._add("rabbitmq", _RABBITMQ, **self._queue_environment())
        stubs = ("-m", "tests.nova.stub_services", str(ports.glance), str(ports.neutron))
        self.stubs = self._add("stubs", sys.executable, *stubs, PYTHONPATH=str(ROOT))
        self.keystone = self._add_web("keystone", "keystone.wsgi.api:application", ports.keystone)
        self.placement = self._add_web("placement", "placement.wsgi.api:application", ports.placement)
        self.api = self._add_web("nova", "nova.wsgi.osapi_compute:application", ports.nova)
        options = ("--config-file", directory / "nova.conf")
        self.conductor = self._add("conductor", BINARIES / "nova-conductor", *options)
        self.scheduler = self._add("scheduler", BINARIES / "nova-scheduler", *options)
        compute = (BINARIES / "python", ROOT / "tests/nova/compute.py", guests)
        self.compute = self._add("compute", *compute, *options)

    def client(self, person: Person = OPERATOR) -> Cloud:
        """A client with a token of its own."""
        return Cloud(person, identity=self.ports.identity, compute=self.ports.compute)

    def start(self) -> None:
        """Start all of it from nothing; RuntimeError, with the end of what the program printed, where one fails."""
        for program in (self.epmd, self.queue, self.stubs):
            program.start()
        self._start_database()
        # The migrations take longest, and go side by side; a service starts when what it needs is there.
        with ThreadPoolExecutor(4) as pool:
            keystone = pool.submit(self._prepare_keystone)
            placement = pool.submit(self._prepare_placement)
            cells = pool.submit(self._prepare_cells)
            servers = pool.submit(self._prepare_servers)
            keystone.result()
            self.keystone.start()
            placement.result()
            self.placement.start()
            self.keystone.serves(lambda: answers_http(self.ports.keystone, "/v3"))
            self._fill_keystone()
            cells.result()
            servers.result()
        self.queue.serves(lambda: listens(self.ports.queue))
        for program in (self.conductor, self.api, self.scheduler):
            program.start()
        # A compute service that comes first asks in vain, and waits ten seconds before it asks again.
        conductor = self.directory / "nova-conductor.log"
        self.conductor.serves(lambda: conductor.exists() and "Starting conductor" in conductor.read_text())
        self.compute.start()
        self.placement.serves(lambda: answers_http(self.ports.placement))
        self.start_api()
        flavor = {"name": FLAVOR, "id": FLAVOR, "ram": 64, "vcpus": 1, "disk": 0}
        self.admin.compute("POST", "/flavors", {"flavor": flavor}).good()
        self.compute.serves(self._takes_servers)

    def stop(self) -> None:
        """End all of it."""
        for program in reversed(self._programs):
            program.kill()

    def kill_api(self) -> None:
        """End Nova's API as a crash would, and wait until its port is closed: its last process is not our child."""
        self.api.kill()
        wait_until(lambda: not listens(self.ports.nova), "the port of Nova's API was closed", pause=0.01)

    def start_api(self) -> None:
        """Start Nova's API where it does not run, and wait until it answers."""
        if not self.api.running:
            self.api.start()
        self.api.serves(lambda: answers_http(self.ports.nova))

    def restart_compute(self, *, sync_seconds: int | None = None) -> None:
        """Kill nova-compute and start it again, where wanted with another spacing of Nova's own power sync."""
        self.compute.kill()
        if sync_seconds is not None:
            settings.write(
                self.directory / "nova.conf", settings.nova(self.ports, self.directory, sync_seconds=sync_seconds)
            )
        before = self._reported_at()
        self.compute.start()
        self.compute.serves(lambda: self._reported_at() != before)

    # ---------------------------------------------------------------------------------------------- the programs

    def _add(self, name: str, *command: str | Path, **environment: str) -> Program:
        program = Program(name, command, cwd=self.directory, environment=environment)
        self._programs.append(program)
        return program

    def _add_web(self, name: str, application: str, port: int) -> Program:
        folder = self.directory / f"{name}-web"
        settings.write_web_server(folder, application=application, port=port)
        variables = {f"OS_{name.upper()}_CONFIG_DIR": str(self.directory)}
        program = Program(name, [BINARIES / "gunicorn"], cwd=folder, environment=variables)
        self._programs.append(program)
        return program

    def _database_command(self) -> list[str]:
        return [
            "mariadbd",
            "--no-defaults",
            *self._as_this_user(),
            f"--datadir={self.directory}/database",
            f"--port={self.ports.database}",
            "--bind-address=127.0.0.1",
            f"--socket={self.directory}/database.sock",
            "--skip-grant-tables",
            "--skip-name-resolve",
            "--max-connections=400",
            # Nothing of it outlives the tests.
            "--innodb-flush-log-at-trx-commit=0",
            "--innodb-flush-method=nosync",
            "--innodb-doublewrite=0",
        ]

    def _as_this_user(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def _queue_environment(self) -> dict[str, str]:
        home = self.directory / "rabbitmq"
        home.mkdir()
        (home / "plugins").write_text("[].\n")
        return {
            "HOME": str(home),  # of the cookie, too
            "RABBITMQ_NODENAME": "rig@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.ports.queue),
            "RABBITMQ_DIST_PORT": str(self.ports.erlang),
            "ERL_EPMD_PORT": str(self.ports.epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_LOG_BASE": str(home / "log"),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "plugins"),
            # Its script then becomes the server, instead of standing beside it.
            "RUNNING_UNDER_SYSTEMD": "true",
            # One scheduler that does not spin while it waits, for others have work to do.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    # ------------------------------------------------------------------------------------------------- from nothing

    def _write_settings(self, sync_seconds: int) -> None:
        folder = self.directory
        settings.write(folder / "keystone.conf", settings.keystone(self.ports, folder))
        settings.write(folder / "placement.conf", settings.placement(self.ports, folder))
        settings.write(folder / "nova.conf", settings.nova(self.ports, folder, sync_seconds=sync_seconds))
        shutil.copy(BINARIES.parent / "etc/nova/api-paste.ini", folder)
        for name in ("fernet", "credential"):
            settings.write_keys(folder / name)
        (folder / "state/instances").mkdir(parents=True)

    def _run(self, name: str, *command: str | Path) -> None:
        Program(name, command, cwd=self.directory).run()

    def _start_database(self) -> None:
        folder = f"--datadir={self.directory}/database"
        self._run("database", "mariadb-install-db", "--no-defaults", *self._as_this_user(), folder, "--skip-test-db")
        self.database.start()
        self.database.serves(lambda: listens(self.ports.database))
        statements = "".join(f"create database {name} character set utf8mb3;" for name in _DATABASES)
        subprocess.run([*self.database_client, "-e", statements], check=True, capture_output=True)

    def _prepare_keystone(self) -> None:
        command = (BINARIES / "keystone-manage", "--config-file", self.directory / "keystone.conf")
        self._run("keystone-database", *command, "db_sync")
        words = {
            "password": ADMIN.password,
            "region-id": REGION,
            **dict.fromkeys(("admin-url", "internal-url", "public-url"), self.ports.identity),
        }
        options = (word for name, value in words.items() for word in (f"--bootstrap-{name}", value))
        self._run("keystone-bootstrap", *command, "bootstrap", *options)

    def _prepare_placement(self) -> None:
        command = (BINARIES / "placement-manage", "--config-file", self.directory / "placement.conf")
        self._run("placement-database", *command, "db", "sync")

    def _prepare_cells(self) -> None:
        """Make the database that knows the cells: cell0 of servers that found no host, and the one with all others."""
        cell0 = self.ports.database_url("nova_cell0")
        self._nova_manage("api-database", "api_db", "sync")
        self._nova_manage("cell0", "cell_v2", "map_cell0", "--database_connection", cell0)
        self._nova_manage("cell1", "cell_v2", "create_cell", "--name", "cell1")

    def _prepare_servers(self) -> None:
        """Make the databases of the two cells."""
        cell0 = self.directory / "cell0.conf"
        settings.write(cell0, {"database": {"connection": self.ports.database_url("nova_cell0")}})
        self._nova_manage("cell1-database", "db", "sync", "--local_cell")
        self._nova_manage("cell0-database", "--config-file", cell0, "db", "sync", "--local_cell")

    def _nova_manage(self, name: str, *words: str | Path) -> None:
        command = (BINARIES / "nova-manage", "--config-file", self.directory / "nova.conf", *words)
        self._run(f"nova-{name}", *command)

    def _fill_keystone(self) -> None:
        """Add the operator and the catalogue to what ``bootstrap`` made."""
        admin = self.admin
        token = admin.token().good()["token"]
        wanted = {"user": {"name": OPERATOR.name, "password": OPERATOR.password, "domain_id": "default"}}
        user = admin.identity("POST", "/users", wanted).good()["user"]["id"]
        (role,) = (role["id"] for role in token["roles"] if role["name"] == "admin")
        admin.identity("PUT", f"/projects/{token['project']['id']}/users/{user}/roles/{role}").good()
        for kind, url in (("compute", self.ports.compute), ("placement", self.ports.placement_url)):
            service = admin.identity("POST", "/services", {"service": {"type": kind, "name": kind}}).good()
            for interface in ("public", "internal", "admin"):
                endpoint = {
                    "service_id": service["service"]["id"],
                    "interface": interface,
                    "url": url,
                    "region_id": REGION,
                }
                admin.identity("POST", "/endpoints", {"endpoint": endpoint}).good()

    def _takes_servers(self) -> bool:
        """Whether Nova knows the host, and Placement would give out what it has."""
        hosts = self.admin.compute("GET", "/os-hypervisors").good()["hypervisors"]
        if [host["state"] for host in hosts if host["hypervisor_hostname"] == HOST] != ["up"]:
            return False
        offers = self.admin.ask("GET", f"{self.ports.placement_url}/allocation_candidates?resources=VCPU:1")
        return bool(offers.good()["provider_summaries"])

    def _reported_at(self) -> str | None:
        (service,) = self.admin.compute("GET", "/os-services?binary=nova-compute").good()["services"]
        reported: str | None = service["updated_at"]
        return reported
