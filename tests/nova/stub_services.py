"""A stand-in for Glance and Neutron: one image and no networks, enough for Nova to boot a server without a network.

``python -m tests.nova.stub_services GLANCE_PORT NEUTRON_PORT``, on 127.0.0.1.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

IMAGE = "11111111-1111-4111-8111-111111111111"

_DESCRIPTION = {
    "id": IMAGE,
    "name": "nothing",
    "status": "active",
    "visibility": "public",
    "size": 1024,
    "min_disk": 0,
    "min_ram": 0,
    "disk_format": "raw",
    "container_format": "bare",
    "protected": False,
    "checksum": "0" * 32,
    "owner": None,
    "tags": [],
    "created_at": "2026-01-01T00:00:00Z",
    "updated_at": "2026-01-01T00:00:00Z",
    "os_hidden": False,
}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def versions(self, number: str) -> dict[str, Any]:
        href = f"http://{self.headers['Host']}/v{number.partition('.')[0]}/"
        return {"versions": [{"id": f"v{number}", "status": "CURRENT", "links": [{"rel": "self", "href": href}]}]}

    @property
    def words(self) -> list[str]:
        return self.path.partition("?")[0].strip("/").split("/")


class Glance(_Handler):
    """Images, v2."""

    def do_GET(self) -> None:
        match self.words:
            case [""] | ["versions"]:
                self.answer(300, self.versions("2.9"))
            case ["v2", "images"]:
                self.answer(200, {"images": [_DESCRIPTION]})
            case ["v2", "images", image] if image == IMAGE:
                self.answer(200, _DESCRIPTION)
            case ["v2", "schemas", *_]:
                properties: dict[str, Any] = {name: {} for name in _DESCRIPTION}
                self.answer(200, {"name": "image", "properties": properties})
            case _:
                self.answer(404, {})


class Neutron(_Handler):
    """Networks, v2.0: every list is empty."""

    def do_GET(self) -> None:
        match self.words:
            case [""]:
                self.answer(200, self.versions("2.0"))
            case [*_, name]:
                self.answer(200, {name.removesuffix(".json").replace("-", "_"): []})


def main() -> None:
    """Serve both until killed."""
    glance, neutron = (
        ThreadingHTTPServer(("127.0.0.1", int(port)), handler)
        for port, handler in zip(sys.argv[1:], (Glance, Neutron), strict=True)
    )
    threading.Thread(target=glance.serve_forever, daemon=True).start()
    neutron.serve_forever()


if __name__ == "__main__":
    main()
