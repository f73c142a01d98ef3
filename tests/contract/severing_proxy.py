"""A proxy for PostgreSQL's socket that cuts a connection in the middle of its COMMIT."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.postgres import PORT

_NAME = f".s.PGSQL.{PORT}"


class SeveringProxy:
    """Passes everything on, until told to cut."""

    def __init__(self, directory: Path, server: Path) -> None:
        self.directory = directory
        self._server = str(server / _NAME)
        #: What happens to each next COMMIT: "before" it reaches the server or "after" the server has done it.
        self.cuts: list[str] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / _NAME))
        self._listener.listen()
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._open += [client, server]
                committing = threading.Event()
                for pump in (self._to_server, self._to_client):
                    thread = threading.Thread(target=pump, args=(client, server, committing))
                    self._threads.append(thread)
                    thread.start()

    def _to_server(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError):
            while sent := client.recv(65536):
                if b"COMMIT" in sent and self.cuts:
                    if self.cuts.pop(0) == "before":
                        break
                    committing.set()
                server.sendall(sent)
        _shut(client, server)

    @staticmethod
    def _to_client(client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError):
            while answer := server.recv(65536):
                if committing.is_set():
                    break
                client.sendall(answer)
        _shut(client, server)

    def close(self) -> None:
        _shut(self._listener, *self._open)
        for thread in self._threads:
            thread.join()
        for each in (self._listener, *self._open):
            each.close()


def _shut(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@contextmanager
def severing_proxy(directory: Path, server: Path) -> Iterator[SeveringProxy]:
    proxy = SeveringProxy(directory, server)
    try:
        yield proxy
    finally:
        proxy.close()
