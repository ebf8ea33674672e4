"""The report of an experiment as a folder: a page, scripts beside it, and data in files of which few change.

report/
  index.html
  lib/       plotly's and DataTables' scripts, and the page's own
  images/    the record's copies, under a second name where the disk allows it: the folder can be moved alone
  data/      experiment.js, images.js, masks.js; RUN/epoch-003.js, epoch-003.masks.js, epoch-003.figures.js
             manifest.json: what each was made from, so that a refresh writes only what is new
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from detkit.components import Messages, Silent
from detkit.errors import RecordError
from detkit.page.document import json_text
from detkit.page.libraries import plotly_script, tables_script, tables_style
from detkit.record.files import duplicate, write_atomically
from detkit.record.reader import ExperimentRecord
from detkit.report.content import REPORT_FORMAT, experiment_content
from detkit.report.evaluations import Evaluation, evaluations, read_detections, read_figures
from detkit.report.pictures import Pictures, picture_file, pictures_content, read_pictures, truth_masks, verify_names
from detkit.report.view import SCRIPTS, STYLES, own_script, own_style, page_html

Signature = list[Any]
Found = TypeVar("Found")
MANIFEST = "data/manifest.json"
#: What of its folder a report writes, and so may remove again.
OWN = ("index.html", "lib", "images", "data")


@dataclass(slots=True)
class Written:
    """What a call of `write_report` did.

    Attributes:
        page: index.html. written: paths in the folder that were written now. bytes: the size of the whole folder.
        troubles: files of the record that are damaged, and so left out.
    """

    page: Path
    written: list[str] = field(default_factory=list)
    bytes: int = 0
    troubles: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        return {"page": str(self.page), "written": self.written, "bytes": self.bytes, "troubles": self.troubles}


def report_folder(record: ExperimentRecord) -> Path:
    """Where the report of an experiment lies by itself."""
    return record.folder / "report"


def write_report(
    record: ExperimentRecord, folder: Path | None = None, *, ended: bool = True, messages: Messages | None = None
) -> Written:
    """Write the report, or bring it up to date; what is there and has not changed is left alone.

    Args:
        folder: `report` in the experiment's own by default.
        ended: as of `experiment_content`. messages: shows how far the detections are.

    Raises:
        RecordError: a file of the record is damaged, or the folder cannot be written.
    """
    verify_names(record)
    writer = _Writer(folder or report_folder(record))
    pictures = read_pictures(record)
    found = {run.run_id: evaluations(run.files) for run in record.runs}
    writer.libraries()
    writer.pictures(record, pictures)
    kept = writer.detections(record, pictures, found, messages or Silent())
    content = experiment_content(record, kept, ended=ended, troubles=writer.troubles, messages=messages)
    writer.put("data/experiment.js", None, lambda: content)
    writer.page(record.name)
    return writer.end()


class _Writer:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._before = _read_manifest(folder / MANIFEST)
        self._now: dict[str, Signature] = {}
        self._written: list[str] = []
        self.troubles: dict[str, list[str]] = {}

    def put(self, name: str, signature: Signature | None, content: Callable[[], Any]) -> None:
        """Data for the page's `Report.take`, under the name of the file below data/ without its ending."""
        key = name.removeprefix("data/").removesuffix(".js")
        self.text(name, signature, lambda: data_script(key, content()))

    def text(self, name: str, signature: Signature | None, content: Callable[[], str]) -> None:
        """Write a file, unless it is there and was made from the same; without a signature, always."""
        if signature is not None:
            self._now[name] = signature
            if self._before.get(name) == signature and (self._folder / name).is_file():
                return
        data = content().encode()
        write_atomically(self._folder / name, lambda stream: stream.write(data), durable=False)
        self._written.append(name)

    def libraries(self) -> None:
        """The scripts and styles beside the page."""
        self.text("lib/plotly.js", [version("plotly")], plotly_script)
        self.text("lib/tables.js", [version("itables")], tables_script)
        self.text("lib/tables.css", [version("itables")], tables_style)
        own, style = own_script(), own_style()
        self.text("lib/report.js", [hash_of(own)], lambda: own)
        self.text("lib/report.css", [hash_of(style)], lambda: style)

    def pictures(self, record: ExperimentRecord, pictures: Pictures) -> None:
        """The images, and the ground truth on them."""
        for image in pictures.images:
            name = picture_file(image)
            if name is not None and image.copy is not None:
                self._picture(name, image.copy)
        files = record.files
        without = [place for place, image in enumerate(pictures.images) if image.copy is None]
        signature = [REPORT_FORMAT, *(_state(file) for file in (files.ground_truth, files.images, files.splits))]
        signature.append(hash_of(str(without)))
        self.put("data/images.js", signature, lambda: pictures_content(pictures))
        if any(item.mask for image in pictures.images for item in image.truth.annotations):
            self.put("data/masks.js", signature, lambda: truth_masks(pictures))

    def _picture(self, name: str, copy: Path) -> None:
        try:
            signature = _state(copy)
        except OSError:
            return  # removed since; the page says that there is no copy
        self._now[name] = signature
        target = self._folder / name
        if self._before.get(name) == signature and target.is_file():
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        duplicate(copy, target)
        self._written.append(name)

    def detections(
        self,
        record: ExperimentRecord,
        pictures: Pictures,
        found: Mapping[str, Sequence[Evaluation]],
        messages: Messages,
    ) -> dict[str, list[Evaluation]]:
        """What each run found, evaluation by evaluation, and the metrics' figures; returns what the report has now."""
        positions = pictures.positions
        kept: dict[str, list[Evaluation]] = {run.run_id: [] for run in record.runs}
        with messages.progress("report", sum(map(len, found.values())), "evaluations") as bar:
            for run in record.runs:
                for one in found[run.run_id]:
                    kept[run.run_id].append(self._evaluation(run.run_id, one, positions))
                    bar.advance()
        return kept

    def _evaluation(self, run: str, one: Evaluation, positions: Mapping[int, int]) -> Evaluation:
        """The same without what is damaged, or gone since the record was looked at."""
        base = f"data/{run}/{one.key}"
        if one.predictions is not None and not self._predictions(run, one.predictions, base, positions):
            one = replace(one, predictions=None)
        if one.figures and not self._figures(run, one.figures, base):
            one = replace(one, figures=())
        return one

    def _predictions(self, run: str, file: Path, base: str, positions: Mapping[int, int]) -> bool:
        signature = self._signature([file], len(positions))
        if signature is None:
            return False
        if not self._is_there(f"{base}.js", signature):
            found = self._read(run, [file], lambda: read_detections(file, positions))
            if found is None:
                return False
            content, masks = found
            self.put(f"{base}.js", signature, lambda: content)
            if masks is not None:
                self.put(f"{base}.masks.js", signature, lambda: masks)
        self._keep(f"{base}.js", f"{base}.masks.js", signature=signature)
        return True

    def _figures(self, run: str, files: Sequence[Path], base: str) -> bool:
        name, signature = f"{base}.figures.js", self._signature(files)
        if signature is None:
            return False
        if not self._is_there(name, signature):
            found = self._read(run, files, lambda: read_figures(files))
            if found is None:
                return False
            self.put(name, signature, lambda: found)
        self._keep(name, signature=signature)
        return True

    def _signature(self, files: Sequence[Path], *more: int) -> Signature | None:
        """None where one is gone: a run that goes on keeps the best epoch's alone, if its spec says so."""
        try:
            return [REPORT_FORMAT, *more, *(_state(file) for file in files)]
        except OSError:
            return None

    def _read(self, run: str, files: Sequence[Path], read: Callable[[], Found]) -> Found | None:
        """What was read; None where it is damaged, which is told, or gone meanwhile."""
        try:
            return read()
        except RecordError as error:
            if all(file.exists() for file in files):
                self.troubles.setdefault(run, []).append(str(error))
            return None

    def _is_there(self, name: str, signature: Signature) -> bool:
        return self._before.get(name) == signature and (self._folder / name).is_file()

    def _keep(self, *names: str, signature: Signature) -> None:
        for name in names:
            if (self._folder / name).is_file():
                self._now[name] = signature

    def page(self, title: str) -> None:
        """index.html."""
        page = page_html(title, styles=STYLES, scripts=SCRIPTS)
        self.text("index.html", [hash_of(page)], lambda: page)

    def end(self) -> Written:
        """Remove what no longer belongs to the record, and keep what everything was made from."""
        for name in self._before.keys() - self._now.keys():
            with suppress(OSError):
                (self._folder / name).unlink()
        content = json.dumps({"format": REPORT_FORMAT, "files": self._now}).encode()
        write_atomically(self._folder / MANIFEST, lambda stream: stream.write(content), durable=False)
        size = sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
        told = [trouble for of_run in self.troubles.values() for trouble in of_run]
        return Written(self._folder / "index.html", self._written, size, told)


def data_script(key: str, content: Any) -> str:
    """A script that hands data to the page. As text that the page parses: within a script's own objects, some names
    (`__proto__`) mean something, and browsers read JSON faster than code."""
    text = json_text(content).replace("\\", "\\\\").replace("'", "\\'")
    return f"Report.take({json_text(key)}, '{text}');\n"


def hash_of(text: str) -> str:
    """Tells one content of a file from another."""
    import hashlib

    return hashlib.sha256(text.encode()).hexdigest()


def _state(file: Path) -> Signature:
    """Tells one state of a file from another; empty where there is none, as in the record of an older detkit."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return []
    return [found.st_mtime_ns, found.st_size]


def _read_manifest(file: Path) -> dict[str, Signature]:
    """What was written before; where that cannot be read, everything is written anew."""
    try:
        content = json.loads(file.read_bytes())
        files: dict[str, Signature] = dict(content["files"]) if content["format"] == REPORT_FORMAT else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return {name: signature for name, signature in files.items() if _is_own(name)}


def _is_own(name: str) -> bool:
    """Whether a report may have written it: what a manifest names is removed, and who made the folder is not known."""
    parts = PurePosixPath(name).parts
    return bool(parts) and parts[0] in OWN and ".." not in parts and "\\" not in name
