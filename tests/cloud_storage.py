"""Cloud Storage on loopback: PyPI's emulator, which counts requests and can refuse some of them."""

import datetime
import io
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from gcp_storage_emulator import server as emulator_server
from gcp_storage_emulator.handlers.buckets import create_bucket
from gcp_storage_emulator.server import RequestHandler
from gcp_storage_emulator.storage import Storage

from pipeline import cloud, files

BUCKET = "bucket"


class _NotAsExpectedError(Exception):
    """An object is of another generation than the request says."""


class Emulator:
    """A server of one bucket, kept in memory.

    Attributes:
      requests: method and path of every request so far.
      refuse_every: refuses each request whose number this divides; 0: none.
      status: what refused requests are answered with.
      loses_answers: whether requests are refused after they were carried out.
      address: where it listens.
    """

    def __init__(self) -> None:
        self.storage = Storage(use_memory_fs=True)
        # It would describe all objects anew with every change, for a later process.
        self.storage._write_config_to_file = lambda: None
        self.requests: list[tuple[str, str]] = []
        self.refuse_every, self.status = 0, 503
        self.loses_answers = False
        self.expected_generation: str | None = None
        self.address = ""
        create_bucket(BUCKET, self.storage)
        for name in ("create_file", "delete_file"):
            setattr(self.storage, name, self._conditional(getattr(self.storage, name)))

    def _conditional(self, change: Callable[..., Any]) -> Callable[..., Any]:
        """Returns what changes an object only if it is of the generation that was asked for."""

        def changed(bucket: str, name: str, *args: Any, **kwargs: Any) -> Any:
            if self.expected_generation is not None:
                found = self.storage.objects.get(bucket, {}).get(name, {}).get("generation", "0")
                if found != self.expected_generation:
                    raise _NotAsExpectedError
            return change(bucket, name, *args, **kwargs)

        return changed

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
    """Counts a request, and answers it or refuses to.

    It also knows conditions of changes, which the emulator passes over.
    """

    def __init__(self, emulator: Emulator, *args) -> None:
        self._emulator = emulator
        self._is_lost = False
        super().__init__(emulator.storage, *args)

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        emulator = self._emulator
        emulator.requests.append((self.command, self.path))
        query = parse_qs(urlsplit(self.path).query)
        emulator.expected_generation = query.get("ifGenerationMatch", [None])[0]
        refused = emulator.refuse_every and not len(emulator.requests) % emulator.refuse_every
        self._is_lost = bool(refused and emulator.loses_answers)
        if refused and not emulator.loses_answers:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_error(emulator.status)
        return not refused or self._is_lost

    def do_POST(self) -> None:
        self._change(super().do_POST)

    def do_DELETE(self) -> None:
        self._change(super().do_DELETE)

    def _change(self, carry_out: Callable[[], None]) -> None:
        answer = self.wfile
        if self._is_lost:
            self.wfile = io.BytesIO()
        try:
            carry_out()
        except _NotAsExpectedError:
            self.send_error(412)
        self.wfile = answer
        if self._is_lost:
            self.send_error(self._emulator.status)


class _ProxyHandler(_Handler):
    """Takes the place of Google's own hosts, of which TensorFlow asks nobody else.

    It also mends what the emulator does not know of TensorFlow's way to ask.
    """

    context: ssl.SSLContext

    def do_CONNECT(self) -> None:
        self.send_response_only(200)
        self.end_headers()
        self.connection = self.context.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.connection.close()

    def parse_request(self) -> bool:
        if not super().parse_request():
            return False
        if self.headers.get("Transfer-Encoding") == "chunked":
            del self.headers["Content-Length"]  # which does not count the marks of chunks
        return True

    def do_GET(self) -> None:
        if not self.path.endswith("/storageLayout"):
            super().do_GET()
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"hierarchicalNamespace": {"enabled": False}}).encode())

    def send_header(self, keyword: str, value: str) -> None:
        super().send_header(keyword, value.replace("http://www.google", "https://www.google"))


def _read_data(request_handler: RequestHandler, query: dict) -> object:
    """Reads an empty object, too: the mark of a folder."""
    data = _read_data_of_emulator(request_handler, query)
    return b"" if data is None and query.get("uploadType") == ["media"] else data


_read_data_of_emulator = emulator_server._read_data
_HOSTS = ("www.googleapis.com", "storage.googleapis.com")


def _make_certificate(folder: Path) -> Path:
    """Writes a key and its certificate for Google's hosts, for an hour."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([*map(x509.DNSName, _HOSTS)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, pem = folder / "certificate.pem", serialization.Encoding.PEM
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    path.write_bytes(key.private_bytes(pem, *form) + certificate.public_bytes(pem))
    return path


@contextmanager
def running_for_tensorflow(folder: Path) -> Iterator[tuple[Emulator, dict[str, str]]]:
    """Starts a server; a process with this environment takes it for Google's."""
    certificate = _make_certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    handler = type("Handler", (_ProxyHandler,), {"context": context})
    with running(handler) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulator_server, "_read_data", _read_data)
        yield (
            emulator,
            {
                "https_proxy": emulator.address,
                "CURL_CA_BUNDLE": str(certificate),
                "GOOGLE_AUTH_TOKEN_FOR_TESTING": "token",
            },
        )


@contextmanager
def running(handler: type[_Handler] = _Handler) -> Iterator[Emulator]:
    """Starts a server and points all clients of this process and its children to it."""
    emulator = Emulator()
    # One request after the other: the emulator is not made for several threads.
    server = HTTPServer(("127.0.0.1", 0), partial(handler, emulator))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        emulator.address = "http://{}:{}".format(*server.server_address[:2])
        patch.setenv("STORAGE_EMULATOR_HOST", emulator.address)
        cloud.client.cache_clear()
        try:
            yield emulator
        finally:
            cloud.client.cache_clear()
            server.shutdown()
            server.server_close()
            thread.join()
