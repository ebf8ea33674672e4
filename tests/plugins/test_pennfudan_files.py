"""Fetching and verifying: a loopback server and made-up archives stand for the real ones."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import stat
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from detkit import BuildContext, DataError, Progress
from detkit_pennfudan import PENN_FUDAN, PennFudanOptions, files

NOBODY = "http://127.0.0.1:9/PennFudanPed.zip"


def png(width: int, height: int, mode: str) -> bytes:
    pixels = np.random.default_rng(width).integers(0, 3, (height, width, 3) if mode == "RGB" else (height, width))
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


CONTENTS = {
    "added-object-list.txt": b"# none\n",
    "PNGImages/a.png": png(60, 50, "RGB"),
    "PNGImages/b.png": png(61, 50, "RGB"),
    "PedMasks/a_mask.png": png(60, 50, "L"),
    "PedMasks/b_mask.png": png(61, 50, "L"),
}


def zipped(contents: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def released() -> dict[str, bytes]:
    return {f"PennFudanPed/{name}": data for name, data in CONTENTS.items()}


@pytest.fixture(autouse=True)
def _made_up_release(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of digests becomes the one of CONTENTS; no proxy stands between the tests and the loopback."""
    file = tmp_path_factory.mktemp("digests") / "digests.txt"
    rows = [f"{hashlib.sha256(data).hexdigest()} {len(data)} {name}\n" for name, data in CONTENTS.items()]
    file.write_text("# made up\n" + "".join(rows))
    monkeypatch.setattr(files, "DIGEST_FILE", file)
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@dataclass
class Server:
    """Serves one body. `breaks` gives, request by request, after how many bytes the connection is cut."""

    body: bytes
    status: int = 200
    ranges: bool = True
    breaks: list[int] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "")
        self.requests.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked and self.ranges else 0
        if start and start >= len(self.body):
            handler.send_error(416)
            return
        handler.send_response(206 if start else self.status)
        handler.send_header("Content-Length", str(len(self.body) - start))
        handler.end_headers()
        handler.wfile.write(self.body[start:][: self.breaks.pop(0) if self.breaks else None])


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[ThreadingHTTPServer] = []

    def start(body: bytes, **settings: Any) -> Server:
        server = Server(body, **settings)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_args: object) -> None:
                pass

        listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        running.append(listener)
        threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True).start()
        server.url = f"http://127.0.0.1:{listener.server_port}/PennFudanPed.zip"
        return server

    yield start
    for listener in running:
        listener.shutdown()
        listener.server_close()


@dataclass
class Told:
    """Messages that remember what they were given."""

    lines: list[str] = field(default_factory=list)
    bars: dict[str, list[int | None]] = field(default_factory=dict)

    def info(self, text: str) -> None:
        self.lines.append(text)

    def warning(self, text: str) -> None:
        self.lines.append(text)

    def progress(self, description: str, total: int | None, unit: str = "") -> AbstractContextManager[Progress]:
        assert unit == "B"
        state: list[int | None] = self.bars.setdefault(description, [total, 0])

        class Bar:
            def advance(self, amount: int = 1) -> None:
                state[1] = (state[1] or 0) + amount

        return nullcontext(Bar())


def context(tmp_path: Path, **changes: Any) -> BuildContext:
    return replace(BuildContext(cache_folder=tmp_path / "cache"), **changes)


def options(root: Path, url: str = NOBODY, **more: Any) -> PennFudanOptions:
    return PennFudanOptions.model_validate({"root": root, "url": url, **more})


def write_release(root: Path) -> Path:
    for name, data in CONTENTS.items():
        file = root / "PennFudanPed" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    return root / "PennFudanPed"


def left(root: Path) -> set[str]:
    """What lies in root, but the lock."""
    return {path.name for path in root.iterdir()} - {".PennFudanPed.lock"}


# --- fetch -----------------------------------------------------------------------------------------------------------


def test_fetches_unpacks_and_opens(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server, told, root = serve(zipped(released())), Told(), tmp_path / "new" / "data"
    dataset = PENN_FUDAN.build(options(root, server.url), context(tmp_path, messages=told))
    assert len(dataset) == 2
    for name, data in CONTENTS.items():
        assert (root / "PennFudanPed" / name).read_bytes() == data
    assert left(root) == {"PennFudanPed"}
    total = sum(map(len, CONTENTS.values()))
    assert told.bars == {
        "Fetching PennFudanPed.zip": [len(server.body), len(server.body)],
        "Unpacking PennFudanPed": [total, total],
    }

    PENN_FUDAN.build(options(root, server.url), context(tmp_path))
    assert server.requests == [""]


def test_the_fetched_folder_has_ordinary_permissions(tmp_path: Path, serve: Callable[..., Server]) -> None:
    (tmp_path / "plain").mkdir()
    folder = files.prepare(options(tmp_path, serve(zipped(released())).url), context(tmp_path))
    assert stat.S_IMODE(folder.stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_connection_that_breaks_is_taken_up_again(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(zipped(released()), breaks=[1000, 500])
    files.prepare(options(tmp_path, server.url), context(tmp_path))
    assert server.requests == ["", "bytes=1000-", "bytes=1500-"]


def test_a_server_without_ranges_starts_over(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server, told = serve(zipped(released()), ranges=False), Told()
    (tmp_path / "PennFudanPed.zip.part").write_bytes(b"x" * 1000)
    files.prepare(options(tmp_path, server.url), context(tmp_path, messages=told))
    assert server.requests == ["bytes=1000-"]
    assert told.bars["Fetching PennFudanPed.zip"] == [len(server.body), len(server.body)]


def test_one_that_keeps_breaking_can_be_gone_on_with(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(zipped(released()), breaks=[100, 100, 100])
    with pytest.raises(DataError, match="broke off 3 times; run again to go on from where it stopped"):
        files.prepare(options(tmp_path, server.url), context(tmp_path))
    assert left(tmp_path) == {"PennFudanPed.zip.part"}
    files.prepare(options(tmp_path, server.url), context(tmp_path))
    assert server.requests[-1] == "bytes=300-"


def test_a_complete_part_of_a_killed_process_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "PennFudanPed.zip.part").write_bytes(zipped(released()))
    (tmp_path / ".PennFudanPed-killed").mkdir()
    files.prepare(options(tmp_path), context(tmp_path))
    assert left(tmp_path) == {"PennFudanPed"}


def test_a_part_longer_than_the_archive_starts_over(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(zipped(released()))
    (tmp_path / "PennFudanPed.zip.part").write_bytes(b"x" * (len(server.body) + 100_000))
    files.prepare(options(tmp_path, server.url), context(tmp_path))
    assert server.requests[1:] == [""]


def test_the_wrong_file_is_refused_and_not_kept(tmp_path: Path, serve: Callable[..., Server]) -> None:
    with pytest.raises(DataError, match=r"is not the released PennFudanPed.zip: File is not a zip file; fetch it anew"):
        files.prepare(options(tmp_path, serve(b"<html>Please log in</html>").url), context(tmp_path))
    assert left(tmp_path) == set()


def test_a_server_that_never_stops_is_cut(
    tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "CHUNK_BYTES", 1000)
    with pytest.raises(DataError, match=r"sends more than \d+ bytes"):
        files.prepare(options(tmp_path, serve(b"x" * 1_000_000).url), context(tmp_path))
    assert (tmp_path / "PennFudanPed.zip.part").stat().st_size < 100_000


def test_a_server_that_has_it_no_more(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(b"", status=404)
    with pytest.raises(
        DataError, match=r"the server answers 404 Not Found; try again later, or fetch PennFudanPed.zip"
    ):
        files.prepare(options(tmp_path, server.url), context(tmp_path))


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        files.prepare(options(tmp_path), context(tmp_path))
    assert str(caught.value).startswith(f"{NOBODY}: no connection (")
    assert f"fetch PennFudanPed.zip by other means and put it into {tmp_path}" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "more", "reason"),
    [({"offline": True}, {}, "detkit is offline"), ({}, {"download": False}, "download = false")],
)
def test_nothing_is_fetched_where_it_must_not_be(
    tmp_path: Path, serve: Callable[..., Server], changes: dict[str, Any], more: dict[str, Any], reason: str
) -> None:
    server, root = serve(zipped(released())), tmp_path / "data"
    for act in (files.check, files.prepare):
        with pytest.raises(DataError) as caught:
            act(options(root, server.url, **more), context(tmp_path, **changes))
        assert f"there is no PennFudanPed in {root}, and {reason}; fetch {server.url} yourself" in str(caught.value)
    assert server.requests == []
    assert not root.exists()


def test_an_archive_put_there_by_hand_needs_no_network(tmp_path: Path) -> None:
    (tmp_path / "PennFudanPed.zip").write_bytes(zipped(released()))
    files.check(options(tmp_path), context(tmp_path, offline=True))
    folder = files.prepare(options(tmp_path), context(tmp_path, offline=True))
    assert (folder / "PNGImages" / "a.png").is_file()
    assert left(tmp_path) == {"PennFudanPed", "PennFudanPed.zip"}


# --- unpack ----------------------------------------------------------------------------------------------------------


def test_only_released_files_are_written(tmp_path: Path) -> None:
    root = tmp_path / "data"
    root.mkdir()
    hostile = {"PennFudanPed/../../escaped": b"x", "/absolute": b"x", "PennFudanPed/PNGImages/c.png": b"x"}
    (root / "PennFudanPed.zip").write_bytes(zipped(released() | hostile))
    folder = files.prepare(options(root), context(tmp_path))
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(CONTENTS)
    assert not (tmp_path / "escaped").exists()


def test_a_link_is_not_made(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("PennFudanPed/PNGImages/a.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in released().items():
            archive.writestr(link if name == link.filename else name, data if name != link.filename else b"/etc/passwd")
    (tmp_path / "PennFudanPed.zip").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match=r"PNGImages/a.png has other contents"):
        files.prepare(options(tmp_path), context(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"PNGImages/a.png": b"\0" * 50_000_000}, "PennFudanPed/PNGImages/a.png has other contents"),
        (
            {"PNGImages/b.png": CONTENTS["PNGImages/b.png"] + b"!"},
            "PennFudanPed/PNGImages/b.png has other contents",
        ),
        (
            {"PNGImages/b.png": CONTENTS["PNGImages/b.png"][:-1] + b"!"},
            "PennFudanPed/PNGImages/b.png has other contents",
        ),
        ({"PedMasks/b_mask.png": None}, "it holds no PennFudanPed/PedMasks/b_mask.png"),
    ],
)
def test_an_archive_of_other_files_is_refused_whole(
    tmp_path: Path, change: dict[str, bytes | None], message: str
) -> None:
    merged = {name: data for name, data in (CONTENTS | change).items() if data is not None}
    (tmp_path / "PennFudanPed.zip").write_bytes(zipped({f"PennFudanPed/{name}": d for name, d in merged.items()}))
    with pytest.raises(DataError) as caught:
        files.prepare(options(tmp_path), context(tmp_path))
    assert f"{tmp_path / 'PennFudanPed.zip'} is not the released PennFudanPed.zip: {message}" in str(caught.value)
    assert left(tmp_path) == {"PennFudanPed.zip"}


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    body = bytearray(zipped(released()))
    middle = body.index(b"PennFudanPed/PNGImages/a.png") + 60
    body[middle : middle + 200] = bytes(200)
    (tmp_path / "PennFudanPed.zip").write_bytes(body)
    with pytest.raises(DataError, match=r"is not the released PennFudanPed.zip"):
        files.prepare(options(tmp_path), context(tmp_path))
    assert left(tmp_path) == {"PennFudanPed.zip"}


# --- two at once -----------------------------------------------------------------------------------------------------


def _prepare_in_child(root: Path, url: str, digests: Path) -> None:
    files.DIGEST_FILE = digests
    os.environ["no_proxy"] = "127.0.0.1"
    files.prepare(options(root, url), BuildContext(cache_folder=root / "cache"))


def test_two_processes_fetch_once(tmp_path: Path, serve: Callable[..., Server]) -> None:
    server = serve(zipped(released()))
    spawn = multiprocessing.get_context("spawn")
    arguments = (tmp_path, server.url, files.DIGEST_FILE)
    children = [spawn.Process(target=_prepare_in_child, args=arguments) for _ in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0, 0]
    assert server.requests == [""]


def test_who_waits_is_told_and_finds_the_folder(tmp_path: Path) -> None:
    told = Told()
    lock = FileLock(tmp_path / ".PennFudanPed.lock")
    lock.acquire()
    waiter = threading.Thread(
        target=files.prepare, args=(options(tmp_path), context(tmp_path, messages=told)), daemon=True
    )
    waiter.start()
    while not told.lines:
        waiter.join(0.01)
    write_release(tmp_path)
    lock.release()
    waiter.join(30)
    assert not waiter.is_alive()
    assert told.lines == [f"another process is fetching PennFudanPed into {tmp_path}; waiting for it"]
    assert told.bars == {}


# --- an existing folder ----------------------------------------------------------------------------------------------


def test_an_existing_folder_is_verified_without_network(tmp_path: Path) -> None:
    folder = write_release(tmp_path)
    for root in (tmp_path, folder):
        assert files.prepare(options(root), context(tmp_path, offline=True)) == folder
        files.check(options(root), context(tmp_path, offline=True))


def test_the_folder_is_not_written_to(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "data")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")}
    files.prepare(options(tmp_path / "data"), context(tmp_path))
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*")} == before
    assert folder.parent == tmp_path / "data"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f: (f / "PNGImages/a.png").unlink(), "PNGImages/a.png is missing"),
        (lambda f: (f / "PNGImages/a.png").write_bytes(b"x"), "PNGImages/a.png has 1 bytes instead of"),
        (
            lambda f: (f / "PNGImages/a.png").write_bytes(CONTENTS["PNGImages/a.png"][:-1] + b"!"),
            "PNGImages/a.png has other contents",
        ),
        (lambda f: (f / "PNGImages/z.png").write_bytes(b"x"), "PNGImages/z.png does not belong to it"),
    ],
)
@pytest.mark.parametrize("verified_before", [False, True])
def test_a_folder_that_differs_is_refused(
    tmp_path: Path, spoil: Callable[[Path], object], message: str, verified_before: bool
) -> None:
    folder = write_release(tmp_path)
    if verified_before:
        files.prepare(options(tmp_path), context(tmp_path))
    spoil(folder)
    with pytest.raises(DataError) as caught:
        files.prepare(options(tmp_path), context(tmp_path))
    assert str(caught.value).startswith(f"{folder} is not the released dataset: {message}")
    assert 'set verify = "none" to read it as it is' in str(caught.value)
    assert files.prepare(options(tmp_path, verify="none"), context(tmp_path)) == folder


def test_only_a_few_of_many_differences_are_named(tmp_path: Path) -> None:
    folder = write_release(tmp_path)
    for number in range(9):
        (folder / "PNGImages" / f"z{number}.png").touch()
    with pytest.raises(DataError, match=r"z4.png does not belong to it; and 4 more;"):
        files.prepare(options(tmp_path), context(tmp_path))


def test_an_unchanged_folder_is_hashed_once(tmp_path: Path) -> None:
    write_release(tmp_path)
    told = Told()
    for _ in range(2):
        files.prepare(options(tmp_path), context(tmp_path, messages=told))
    total = sum(map(len, CONTENTS.values()))
    assert told.bars == {"Verifying PennFudanPed": [total, total]}


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path) -> None:
    write_release(tmp_path)
    (tmp_path / "file").touch()
    files.prepare(options(tmp_path), BuildContext(cache_folder=tmp_path / "file"))


def test_an_empty_folder_is_as_good_as_none(tmp_path: Path, serve: Callable[..., Server]) -> None:
    (tmp_path / "PennFudanPed").mkdir()
    folder = files.prepare(options(tmp_path, serve(zipped(released())).url), context(tmp_path))
    assert (folder / "PNGImages").is_dir()


def test_root_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(DataError, match=r"data is not a folder; root must be the folder that holds PennFudanPed"):
        files.check(options(tmp_path / "data"), context(tmp_path))


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_args: False)
    with pytest.raises(DataError, match=r"cannot fetch PennFudanPed into it: .* is not writable"):
        files.check(options(tmp_path / "data"), context(tmp_path))


def test_a_full_disk_says_so(tmp_path: Path, serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(DataError, match="cannot put PennFudanPed there: No space left on device"):
        files.prepare(options(tmp_path, serve(zipped(released())).url), context(tmp_path))
    assert left(tmp_path) == {"PennFudanPed.zip.part"}


def test_the_shipped_list_is_the_whole_release(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    digests = files.read_digests()
    folders = [name.partition("/")[0] for name in digests if "/" in name]
    assert {name: folders.count(name) for name in folders} == {"Annotation": 170, "PNGImages": 170, "PedMasks": 170}
    assert len(digests) == 512
    assert all(len(digest.sha256) == 64 and digest.size > 0 for digest in digests.values())
    assert not any(name.startswith("/") or ".." in name for name in digests)
