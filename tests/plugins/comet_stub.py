"""A Comet server on 127.0.0.1: answers the real client with as little as it needs and keeps what it was sent."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

#: Comet's code for "the experiment of that key exists already" (comet_ml/exceptions.py).
EXPERIMENT_ALREADY_EXISTS = 90999


@dataclass(frozen=True)
class Request:
    """One request, decoded.

    Attributes:
        body: the JSON value; for multipart bodies the parts by name (bytes); None where there is neither.
        query: the first value of each parameter.
    """

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Stub:
    """The server, as a context manager.

    Attributes:
        refuse: answers every handshake with this status and JSON body.
        fail: parts of paths to the status with which they are answered.
        requests: all that came, in order.
        known: keys of the experiments that exist.
        extra: further endpoints, asked first.
    """

    refuse: tuple[int, dict[str, Any]] | None = None
    fail: dict[str, int] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    extra: list[Callable[[Request], tuple[int, Any] | None]] = field(default_factory=list)
    _stopped: bool = field(default=False, init=False)

    def __enter__(self) -> Self:
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(b"")

            def do_POST(self) -> None:
                self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            do_PUT = do_POST

            def _answer(self, data: bytes) -> None:
                if stub._stopped:
                    self.close_connection = True
                    return
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                request = Request(self.command, url.path, query, decode(self.headers, data))
                stub.requests.append(request)
                status, value = stub.reply(request)
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse all further connections, and break those that are open; a second call does nothing."""
        if not self._stopped:
            self._stopped = True
            self._server.shutdown()
            self._server.server_close()

    @property
    def url(self) -> str:
        """What `COMET_URL_OVERRIDE` must hold."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/clientlib/"

    def reply(self, request: Request) -> tuple[int, Any]:
        for extra in self.extra:
            answer = extra(request)
            if answer is not None:
                return answer
        for part, status in self.fail.items():
            if part in request.path:
                return status, {}
        if request.path.endswith("/isAlive/ver"):
            return 200, {"version": "99.0.0"}
        if request.path.endswith("/status-report/update"):
            return 200, {"is_alive_beat_duration_millis": 10000, "gpu_monitor_interval_millis": 10000}
        if request.path.endswith(("/logger/add/run", "/logger/get/run")):
            return self._handshake(request)
        return 200, {}

    def _handshake(self, request: Request) -> tuple[int, dict[str, Any]]:
        if self.refuse is not None:
            return self.refuse
        if request.path.endswith("/add/run"):
            key = request.body["experimentKey"]
            if key in self.known and not request.body["getOrCreateEnabled"]:
                return 400, {"sdk_error_code": EXPERIMENT_ALREADY_EXISTS, "msg": "it exists"}
            self.known.add(key)
        return 200, {"runId": "run", "project_id": "project", "focusUrl": f"{self.url}me/"}

    # --- what was sent -----------------------------------------------------------------------------------------------

    def bodies(self, part: str) -> list[Any]:
        """The bodies of all requests whose path holds `part`."""
        return [request.body for request in self.requests if part in request.path]

    def uploads(self) -> dict[str, tuple[dict[str, str], bytes]]:
        """Uploaded files: name to the request's query and the content."""
        return {
            request.query["fileName"]: (request.query, request.body["file"])
            for request in self.requests
            if request.path.endswith("/asset/upload")
        }


def decode(headers: Message, data: bytes) -> Any:
    """A body as JSON value or as the parts of a form, unzipped first."""
    if headers.get("Content-Encoding") == "gzip":
        data = gzip.decompress(data)
    kind = headers.get("Content-Type", "")
    if kind.startswith("multipart/"):
        form = BytesParser().parsebytes(f"Content-Type: {kind}\r\n\r\n".encode() + data)
        parts = form.get_payload()
        assert isinstance(parts, list)
        return {
            str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True)
            for part in parts
            if isinstance(part, Message)
        }
    try:
        return json.loads(data) if data else None
    except ValueError:
        return None
