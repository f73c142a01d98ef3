"""What the services of the rig are told: their configuration files, and nothing that a real cloud would not have."""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.nova.cloud import Person

HOST = "rig"
"""The name of the only compute host."""

REGION = "RegionOne"

ADMIN = Person(name="admin", password="rig-admin", project="admin")

Sections = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Where each part listens, on 127.0.0.1."""

    database: int
    epmd: int
    erlang: int
    queue: int
    keystone: int
    placement: int
    glance: int
    neutron: int
    nova: int

    @property
    def identity(self) -> str:
        """Keystone's URL."""
        return f"http://127.0.0.1:{self.keystone}/v3"

    @property
    def compute(self) -> str:
        """Nova's URL."""
        return f"http://127.0.0.1:{self.nova}/v2.1"

    @property
    def placement_url(self) -> str:
        """Placement's URL."""
        return f"http://127.0.0.1:{self.placement}"

    def database_url(self, name: str) -> str:
        """SQLAlchemy's URL of a database."""
        return f"mysql+pymysql://root@127.0.0.1:{self.database}/{name}?charset=utf8"


def _client(ports: Ports) -> dict[str, object]:
    return {
        "auth_url": ports.identity,
        "auth_type": "password",
        "username": ADMIN.name,
        "password": ADMIN.password,
        "project_name": ADMIN.project,
        "user_domain_id": "default",
        "project_domain_id": "default",
    }


def _middleware(ports: Ports) -> dict[str, object]:
    # Not cached, or a token that was revoked would go on for five minutes.
    return {"www_authenticate_uri": ports.identity, "token_cache_time": -1, **_client(ports)}


def keystone(ports: Ports, directory: Path) -> Sections:
    """keystone.conf."""
    return {
        "DEFAULT": {"log_file": directory / "keystone.log"},
        "database": {"connection": ports.database_url("keystone")},
        "token": {"provider": "fernet"},
        "fernet_tokens": {"key_repository": directory / "fernet"},
        "fernet_receipts": {"key_repository": directory / "fernet"},
        "credential": {"key_repository": directory / "credential"},
        # Without it every token that a service is shown costs 0.1 s of computing. It is one process's, so what changes
        # is forgotten; but a thread that read a user before the change may put it back for ten minutes.
        "cache": {"enabled": True, "backend": "dogpile.cache.memory"},
        "identity": {"caching": False},
    }


def placement(ports: Ports, directory: Path) -> Sections:
    """placement.conf."""
    return {
        "DEFAULT": {"log_file": directory / "placement.log"},
        "api": {"auth_strategy": "keystone"},
        "placement_database": {"connection": ports.database_url("placement")},
        "keystone_authtoken": _middleware(ports),
    }


def nova(ports: Ports, directory: Path, *, sync_seconds: int) -> Sections:
    """nova.conf; Nova's own power sync runs every `sync_seconds`, and never for a negative number."""
    return {
        "DEFAULT": {
            "host": HOST,
            "my_ip": "127.0.0.1",
            "state_path": directory / "state",
            "log_dir": directory,
            "transport_url": f"rabbit://guest:guest@127.0.0.1:{ports.queue}/",
            "compute_driver": "rig.TestDomains",
            "sync_power_state_interval": sync_seconds,
            "report_interval": 2,
            "vif_plugging_is_fatal": False,
            "vif_plugging_timeout": 0,
        },
        "api_database": {"connection": ports.database_url("nova_api")},
        "database": {"connection": ports.database_url("nova_cell1")},
        "keystone_authtoken": _middleware(ports),
        "placement": {"region_name": REGION, **_client(ports)},
        "glance": {"endpoint_override": f"http://127.0.0.1:{ports.glance}"},
        "neutron": {"endpoint_override": f"http://127.0.0.1:{ports.neutron}", **_client(ports)},
        "conductor": {"workers": 1},
        # The scheduler finds the host by itself, so that nobody has to ask again and again whether it is there.
        "scheduler": {"workers": 1, "discover_hosts_in_cells_interval": 2},
        "filter_scheduler": {"enabled_filters": "ComputeFilter"},
        "oslo_concurrency": {"lock_path": directory / "locks"},
    }


def write(path: Path, sections: Sections) -> None:
    """Write a file as oslo.config reads it."""
    lines = []
    for section, options in sections.items():
        lines += [f"[{section}]", *(f"{name} = {value}" for name, value in options.items()), ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines))


def write_keys(folder: Path) -> None:
    """Give Keystone two keys, as its own ``fernet_setup`` would (in seconds, since it loads all of Keystone)."""
    folder.mkdir(mode=0o700)
    for name in ("0", "1"):
        (folder / name).write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
        (folder / name).chmod(0o600)


def write_web_server(folder: Path, *, application: str, port: int) -> None:
    """Write gunicorn's file: from a file, because Keystone and Nova would read its command line as their own."""
    folder.mkdir()
    (folder / "gunicorn.conf.py").write_text(
        f'wsgi_app = "{application}"\nbind = "127.0.0.1:{port}"\n'
        'worker_class = "gthread"\nthreads = 4\nworkers = 1\ncontrol_socket_disable = True\n'
    )
