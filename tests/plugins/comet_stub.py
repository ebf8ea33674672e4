"""A Comet server on 127.0.0.1: answers the real client with as little as it needs and keeps what it was sent.

    with Stub() as stub:                       # COMET_URL_OVERRIDE=stub.url
        stub.faults["/batch/"] = Fault(status=500)
        ...
        stub.received().metrics

Faults may be switched while the client runs. What was answered with an error was not received.
"""

from __future__ import annotations

import gzip
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from email.parser import BytesParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from plugins.comet_received import Received, Request, received_from

#: Comet's code for "the experiment of that key exists already" (comet_ml/exceptions.py).
EXPERIMENT_ALREADY_EXISTS = 90999
ARTIFACT_NOT_FOUND = 624523

#: Answers a request, or None for somebody else to do it.
Reply = Callable[[Request], tuple[int, Any] | None]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request.

    Attributes:
        status: the answer's status; None answers as if nothing were wrong.
        delay_s: before the answer, seconds.
        hang: no answer comes until the server stops.
        kill: the server stops, as by `Stub.stop`.
    """

    status: int | None = None
    delay_s: float = 0.0
    hang: bool = False
    kill: bool = False


@dataclass
class Stub:
    """The server, as a context manager.

    Attributes:
        refuse: answers every handshake with this status and JSON body.
        faults: parts of paths to what goes wrong there; the first that fits counts, "" fits all.
        extra: further endpoints, asked first.
        requests: all that came, in order; those that were refused, too.
        known: keys of the experiments that exist.
        workspace, project: what the server says that the experiments are in.
    """

    refuse: tuple[int, dict[str, Any]] | None = None
    faults: dict[str, Fault] = field(default_factory=dict)
    extra: list[Reply] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    workspace: str = "me"
    project: str = "project"
    _accepted: list[Request] = field(default_factory=list, init=False)
    _versions: list[dict[str, Any]] = field(default_factory=list, init=False)
    _stopped: threading.Event = field(default_factory=threading.Event, init=False)

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
                url = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(url.query).items()}
                answer = stub.answer(Request(self.command, url.path, query, decode(self.headers, data)))
                if answer is None:
                    self.close_connection = True
                    return
                value = answer[1]
                text = value if isinstance(value, bytes) else json.dumps(value).encode()
                try:
                    self.send_response(answer[0])
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(text)))
                    self.end_headers()
                    self.wfile.write(text)
                except OSError:  # the client did not wait
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that was killed breaks its connections."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Refuse all further connections, and break those that are open; a second call does nothing."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._server.shutdown()
            self._server.socket.close()

    @property
    def url(self) -> str:
        """What `COMET_URL_OVERRIDE` must hold."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/clientlib/"

    # --- answers -----------------------------------------------------------------------------------------------------

    def answer(self, request: Request) -> tuple[int, Any] | None:
        """Status and JSON value, or bytes to be sent as they are; None breaks the connection."""
        if self._stopped.is_set():
            return None
        self.requests.append(request)
        fault = next((fault for part, fault in self.faults.items() if part in request.path), Fault())
        if fault.kill:
            self.stop()
            return None
        if fault.hang:
            self._stopped.wait()
            return None
        if fault.delay_s:
            time.sleep(fault.delay_s)
        status, value = (fault.status, {}) if fault.status is not None else self.reply(request)
        if status < 300 and not self._stopped.is_set():
            self._accepted.append(request)
        return status, value

    def reply(self, request: Request) -> tuple[int, Any]:
        for extra in self.extra:
            answer = extra(request)
            if answer is not None:
                return answer
        path = request.path
        if path.endswith("/isAlive/ver"):
            return 200, {"version": "99.0.0"}
        if path.endswith("/status-report/update"):
            return 200, {"is_alive_beat_duration_millis": 10000, "gpu_monitor_interval_millis": 10000}
        if path.endswith(("/logger/add/run", "/logger/get/run")):
            return self._handshake(request)
        if path.endswith("/experiment/metadata"):
            return self._metadata(request.query.get("experimentKey", ""))
        if path.endswith("/write/artifacts/upsert"):
            self._versions.append(request.body)
            ids = {"artifactId": "artifact", "artifactVersionId": f"version-{len(self._versions)}"}
            return 200, ids | {"currentVersion": "1.0.0", "previousVersion": None}
        if path.endswith("/artifacts/version"):
            return self._artifact_version(request.query.get("versionId", ""))
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

    def _artifact_version(self, version: str) -> tuple[int, dict[str, Any]]:
        if not version.startswith("version-"):
            return 400, {"sdk_error_code": ARTIFACT_NOT_FOUND, "msg": "no such artifact"}
        body = self._versions[int(version.removeprefix("version-")) - 1]
        artifact = {"artifactName": body["artifactName"], "artifactType": body["artifactType"]}
        return 200, {
            "artifact": artifact | {"artifactId": "artifact", "tags": [], "workspaceName": self.workspace},
            "artifactVersion": "1.0.0",
            "artifactVersionId": version,
            "experimentKey": body["experimentKey"],
            "metadata": body["versionMetadata"],
            "alias": body["alias"],
            "tags": body["versionTags"],
            "sizeInBytes": 0,
        }

    def _metadata(self, key: str) -> tuple[int, dict[str, Any]]:
        if key not in self.known:
            return 404, {"msg": "no such experiment"}
        about = {"experimentKey": key, "workspaceName": self.workspace, "projectName": self.project}
        return 200, about | {"projectId": "project", "experimentName": None, "throttle": False, "archived": False}

    # --- what was sent -----------------------------------------------------------------------------------------------

    def received(self, key: str | None = None) -> Received:
        """What an experiment got; without a key, the only one that exists."""
        if key is None:
            (key,) = self.known
        return received_from(key, list(self._accepted))

    def bodies(self, part: str) -> list[Any]:
        """The bodies of all requests whose path holds `part`."""
        return [request.body for request in self.requests if part in request.path]

    def uploads(self) -> dict[str, tuple[dict[str, str], bytes]]:
        """Uploaded files: name to the request's query and the content."""
        return {
            request.query["fileName"]: (request.query, request.body["file"])
            for request in self._accepted
            if request.path.endswith("/asset/upload") and "file" in request.body
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
