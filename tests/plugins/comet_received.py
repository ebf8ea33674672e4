"""What an experiment in Comet got, decoded: from a stub's requests or from an offline archive, the same object."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

#: What the client logs of its own accord.
CLIENTS_OWN_PARAMETERS = ("curr_step", "curr_epoch")
CLIENTS_OWN_METRICS = ("process duration", "sys.")


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


class Metric(NamedTuple):
    """One value; context "train", "validate" or None."""

    name: str
    value: float
    step: int | None
    epoch: int | None
    context: str | None


@dataclass(frozen=True)
class Image:
    """Attributes: metadata: as sent, `annotations` among it. content: the file. id: by which others refer to it."""

    name: str
    step: int | None
    metadata: dict[str, Any]
    content: bytes
    id: str

    @property
    def layers(self) -> dict[str, list[dict[str, Any]]]:
        """The annotations: name of the layer to its objects."""
        annotations = self.metadata.get("annotations", [])
        layers = json.loads(annotations) if isinstance(annotations, str) else annotations
        return {layer["name"]: layer["data"] for layer in layers}


@dataclass(frozen=True)
class Asset:
    """An uploaded file that is no image.

    Attributes:
        type: "asset", "curve", "confusion-matrix", "model-element", "source_code" ...
        group: the model that it belongs to.
        artifact: id of the artifact's version that it belongs to.
        link: of a remote asset, which has no content.
    """

    name: str
    type: str
    step: int | None
    epoch: int | None
    metadata: dict[str, Any]
    content: bytes
    group: str | None = None
    artifact: str | None = None
    link: str | None = None

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def rows(self) -> list[list[str]]:
        """Of a CSV file; the first one is the header."""
        return list(csv.reader(io.StringIO(self.content.decode())))


@dataclass
class ArtifactVersion:
    """Attributes: state: "CLOSED" once all has arrived. assets: name to the file or the link."""

    name: str
    type: str
    metadata: dict[str, Any]
    state: str = ""
    assets: dict[str, Asset] = field(default_factory=dict)


@dataclass
class Received:
    """One experiment.

    Attributes:
        project, workspace: as asked for. tags: sorted.
        alive: what the client said of itself, in order: True at the start, False at the end; empty in archives.
        errors: what it told the server of its failures.
        registered: bodies of registrations of models.
    """

    key: str
    project: str | None = None
    workspace: str | None = None
    tags: list[str] = field(default_factory=list)
    all_parameters: dict[str, Any] = field(default_factory=dict)
    all_metrics: list[Metric] = field(default_factory=list)
    others: dict[str, Any] = field(default_factory=dict)
    images: list[Image] = field(default_factory=list)
    all_assets: list[Asset] = field(default_factory=list)
    artifacts: list[ArtifactVersion] = field(default_factory=list)
    registered: list[dict[str, Any]] = field(default_factory=list)
    graph: str | None = None
    html: list[str] = field(default_factory=list)
    alive: list[bool] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def name(self) -> str | None:
        name = self.others.get("Name")
        return None if name is None else str(name)

    @property
    def parameters(self) -> dict[str, Any]:
        """Without those that the client counts by itself."""
        return {name: value for name, value in self.all_parameters.items() if name not in CLIENTS_OWN_PARAMETERS}

    @property
    def metrics(self) -> list[Metric]:
        """Without those that the client measures by itself, in the order of steps."""
        ours = [metric for metric in self.all_metrics if not metric.name.startswith(CLIENTS_OWN_METRICS)]
        return sorted(ours, key=lambda metric: (metric.step or 0, metric.context or "", metric.name))

    def metric(self, name: str, context: str | None = None) -> dict[int | None, float]:
        """One metric: step to value."""
        return {
            metric.step: metric.value for metric in self.metrics if (metric.name, metric.context) == (name, context)
        }

    @property
    def image_steps(self) -> dict[str, list[int | None]]:
        """Name of an image to the steps at which it was sent, sorted."""
        steps: dict[str, list[int | None]] = {}
        for image in sorted(self.images, key=lambda image: image.step or 0):
            steps.setdefault(image.name, []).append(image.step)
        return steps

    def of_type(self, kind: str) -> list[Asset]:
        return [asset for asset in self.all_assets if asset.type == kind and asset.artifact is None]

    @property
    def files(self) -> dict[str, Asset]:
        """Plain assets, tables among them, by name."""
        return {asset.name: asset for asset in self.of_type("asset")}

    @property
    def curves(self) -> list[Asset]:
        """In the order of steps; `asset.json` has name, x and y."""
        return sorted(self.of_type("curve"), key=lambda asset: (asset.name, asset.step or 0))

    @property
    def matrices(self) -> dict[str, Asset]:
        return {asset.name: asset for asset in self.of_type("confusion-matrix")}

    @property
    def models(self) -> dict[str, dict[str, bytes]]:
        """Name of a model to its files."""
        models: dict[str, dict[str, bytes]] = {}
        for asset in self.of_type("model-element"):
            models.setdefault(asset.group or "", {})[asset.name] = asset.content
        return models

    @property
    def code(self) -> dict[str, bytes]:
        return {asset.name: asset.content for asset in self.of_type("source_code")}

    @property
    def ended(self) -> bool:
        """Whether the client said at the end that it is done."""
        return bool(self.alive) and not self.alive[-1]


# --- from requests ---------------------------------------------------------------------------------------------------


def received_from(key: str, requests: Sequence[Request]) -> Received:
    """What the requests brought to the experiment of that key."""
    got = Received(key)
    for request in requests:
        if _key_of(request) == key:
            _take(got, request)
    tags = {tag for tag in got.tags if tag}
    got.tags = sorted(tags)
    return got


def _key_of(request: Request) -> str | None:
    body = request.body if isinstance(request.body, dict) else {}
    for name in ("experimentKey", "experimentId", "experiment_key"):
        value = request.query.get(name) or body.get(name)
        if value:
            return value.decode() if isinstance(value, bytes) else str(value)
    return None


def _take(got: Received, request: Request) -> None:
    path, body = request.path, request.body
    if path.endswith(("/logger/add/run", "/logger/get/run")):
        got.project, got.workspace = body.get("projectName"), body.get("teamName")
    elif path.endswith("/experiment/parameter"):
        got.all_parameters |= {value["parameterName"]: value["parameterValue"] for value in body["values"]}
    elif path.endswith("/experiment/metric"):
        got.all_metrics += [_metric(value, value["context"]) for value in body["values"]]
    elif path.endswith("/experiment/log-other"):
        got.others[body["key"]] = body["value"]
    elif path.endswith("/tags/add-tags-to-experiment"):
        got.tags += body["addedTags"]
    elif path.endswith("/write/experiment/graph"):
        got.graph = body["graph"]
    elif path.endswith("/write/experiment/html"):
        got.html.append(body["html"])
    elif path.endswith("/status-report/update"):
        if "is_alive" in body and got.alive[-1:] != [body["is_alive"]]:
            got.alive.append(body["is_alive"])
    elif path.endswith("/write/experiment/update-status"):
        got.errors += [body["error"]] if body.get("error") else []
    elif path.endswith("/visualizations/upload"):
        got.images.append(_image(request.query, _json(body.get("metadata")), body["file"]))
    elif path.endswith("/asset/upload"):
        _take_asset(got, _asset(request.query, _json(body.get("metadata")), body.get("file"), body.get("link")))
    elif path.endswith("/write/artifacts/upsert"):
        _take_artifact(got, body)
    elif path.endswith("/artifact/assets/remote/batch"):
        for item in body["remoteArtifactAssetRequests"]:
            _take_asset(got, _asset(item, _json(item.get("metadata")), None, str(item["link"]).encode()))
    elif path.endswith("/write/artifacts/state"):
        got.artifacts[-1].state = body["state"]
    elif "registry-model" in path and request.method == "POST":
        got.registered.append(body)


def _take_artifact(got: Received, body: dict[str, Any]) -> None:
    metadata = body.get("versionMetadata")
    got.artifacts.append(
        ArtifactVersion(
            body["artifactName"],
            body["artifactType"],
            json.loads(metadata) if isinstance(metadata, str) else metadata or {},
        )
    )


def _take_asset(got: Received, asset: Asset) -> None:
    got.all_assets.append(asset)
    if asset.artifact is not None and got.artifacts:
        # The client sends an artifact's files before it begins another one.
        got.artifacts[-1].assets[asset.name] = asset


def _metric(value: dict[str, Any], context: str | None) -> Metric:
    return Metric(value["metricName"], value["metricValue"], value.get("step"), value.get("epoch"), context)


def _image(about: dict[str, Any], metadata: dict[str, Any], content: bytes) -> Image:
    return Image(about["figName"], _int(about.get("step")), metadata, content, about["imageId"])


def _asset(about: dict[str, Any], metadata: dict[str, Any], content: bytes | None, link: bytes | None) -> Asset:
    return Asset(
        name=about["fileName"],
        type=about.get("type") or "asset",
        step=_int(about.get("step")),
        epoch=_int(about.get("epoch")),
        metadata=metadata,
        content=content or b"",
        group=about.get("groupingName"),
        artifact=about.get("artifactVersionId"),
        link=link.decode() if link else None,
    )


def _int(value: Any) -> int | None:
    return None if value in (None, "", "None") else int(value)


def _json(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return value
    return dict(json.loads(value)) if value else {}


# --- from archives ---------------------------------------------------------------------------------------------------


def read_archive(file: Path) -> Received:
    """What an offline archive holds."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    about = json.loads(members["experiment.json"])
    got = Received(about["offline_id"], about["project_name"], about["workspace"], sorted(about["tags"]))
    for line in members["messages.json"].splitlines():
        message = json.loads(line)
        _take_message(got, message["type"], message["payload"], members)
    return got


def _take_message(got: Received, kind: str, payload: dict[str, Any], members: dict[str, bytes]) -> None:
    if kind == "metric_msg":
        got.all_metrics.append(_metric(payload["metric"], payload.get("context")))
    elif kind == "parameter_msg":
        parameter = payload["param"]
        got.all_parameters[parameter["paramName"]] = parameter.get("paramValue", parameter.get("params"))
    elif kind == "log_other":
        got.others[payload["key"]] = payload["value"]
    elif kind == "graph":
        got.graph = payload["graph"]
    elif kind == "html":
        got.html.append(payload["html"])
    elif kind == "register_model":
        got.registered.append(payload)
    elif kind in ("file_upload", "remote_file"):
        about = payload["additional_params"]
        content = members[payload["file_path"]] if kind == "file_upload" else None
        if payload["upload_type"] == "visualization":
            assert content is not None
            got.images.append(_image(about, payload["metadata"] or {}, content))
        else:
            link = str(payload["remote_uri"]).encode() if kind == "remote_file" else None
            _take_asset(got, _asset(about, payload["metadata"] or {}, content, link))
