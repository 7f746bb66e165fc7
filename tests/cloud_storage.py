"""Cloud Storage on loopback: PyPI's emulator, which counts requests and can refuse some of them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path

import pytest
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from pipeline import cloud, files

BUCKET = "bucket"


class Emulator:
    """A server of one bucket, kept in memory.

    Attributes:
      requests: method and path of every request so far.
      refuse_every: refuses each request whose number this divides; 0: none.
      status: what refused requests are answered with.
    """

    def __init__(self) -> None:
        self.storage = Storage(use_memory_fs=True)
        # It would describe all objects anew with every change, for a later process.
        self.storage._write_config_to_file = lambda: None
        self.requests: list[tuple[str, str]] = []
        self.refuse_every, self.status = 0, 503
        self.lock = threading.Lock()
        create_bucket(BUCKET, self.storage)

    def write(self, name: str, data: bytes) -> str:
        """Puts an object there; returns its path."""
        files.write_bytes(f"gs://{BUCKET}/{name}", data)
        return f"gs://{BUCKET}/{name}"

    def copy_folder(self, folder: Path, name: str) -> str:
        """Puts all files of a local folder there; returns its path."""
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.write(f"{name}/{path.relative_to(folder).as_posix()}", path.read_bytes())
        return f"gs://{BUCKET}/{name}"

    def read_folder(self, name: str) -> dict[str, bytes]:
        """Returns the content of all objects below a folder by their names in it."""
        names = [
            found["name"] for found in self.storage.get_file_list(BUCKET, f"{name}/", None, None)[0]
        ]
        return {
            found.removeprefix(f"{name}/"): self.storage.get_file(BUCKET, found) for found in names
        }


class _Handler(RequestHandler):
    """Counts a request, and answers it or refuses to."""

    def __init__(self, emulator: Emulator, *args) -> None:
        self._emulator = emulator
        super().__init__(emulator.storage, *args)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        emulator = self._emulator
        with emulator.lock:
            emulator.requests.append((self.command, self.path))
            refused = emulator.refuse_every and not len(emulator.requests) % emulator.refuse_every
        if refused:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_error(emulator.status)
        return not refused


@contextmanager
def running() -> Iterator[Emulator]:
    """Starts a server and points all clients of this process and its children to it."""
    emulator = Emulator()
    # One request after the other: the emulator is not made for several threads.
    server = HTTPServer(("127.0.0.1", 0), partial(_Handler, emulator))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        host, port = server.server_address[:2]
        patch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}:{port}")
        cloud.client.cache_clear()
        try:
            yield emulator
        finally:
            cloud.client.cache_clear()
            server.shutdown()
            server.server_close()
            thread.join()
