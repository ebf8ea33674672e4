"""The dataset as a version of a Comet Artifact: the same data is one version, whichever run was trained on it."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detkit import DetkitError, ExperimentRecord, Messages, RunInfo, open_record
from detkit_comet import CometOptions
from detkit_comet.client import redact
from detkit_comet.manifest import SHORT, Manifest, make_manifest, write_manifest

if TYPE_CHECKING:
    from comet_ml import Artifact, CometExperiment
    from comet_ml.artifacts.logged_artifact import LoggedArtifact

MANIFEST_NAME = "dataset/manifest.json"
ARTIFACT_TYPE = "dataset"
#: Comet's name of the parameter by which runs are compared; its own function would digest the digest once more.
HASH_PARAMETER = "dataset_hash"

#: A name in Comet holds neither "/" nor ":", which part it from workspace and version, and 100 characters.
UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")
LONGEST_NAME = 100


class DatasetVersion:
    """Says in Comet which data a run is of."""

    def __init__(
        self, options: CometOptions, run: RunInfo, messages: Messages, lost: Callable[[str], None] | None = None
    ) -> None:
        """Args: lost: is told where the server is away, instead of a warning; a later upload sends the version."""
        self._lost = lost
        self._how = options.dataset
        self._run = run
        self._messages = messages

    def log(self, experiment: CometExperiment, online: bool) -> None:
        """Online use the Artifact's version of that data, or make it; offline, or where that fails, send the manifest.

        Digests of the files are made the first time; later runs of the experiment find them in the record. What goes
        wrong is one warning.

        Args:
            online: the experiment is no archive.
        """
        if self._how == "none" or experiment.disabled:
            return
        try:
            record = open_record(self._run.folder)
            manifest = make_manifest(record, str(self._run.parameters["spec"]["dataset"]["use"]))
        except (DetkitError, KeyError, TypeError) as error:
            self._messages.warning(f"comet: the dataset is not described: {type(error).__name__}: {error}")
            return
        experiment.log_others({"dataset": manifest.dataset, "dataset_fingerprint": manifest.fingerprint["sha256"]})
        if manifest.pending:
            self._tell_pending(manifest)
            return
        self._tell_missing(manifest)
        experiment.log_parameter(HASH_PARAMETER, manifest.digest[:SHORT])
        experiment.log_dataset_info(name=manifest.dataset, version=manifest.digest[:SHORT])
        if not online or not self._use_version(experiment, record, manifest):
            experiment.log_asset_data(manifest.content().decode(), name=MANIFEST_NAME)

    def _tell_pending(self, manifest: Manifest) -> None:
        self._messages.info(
            f"comet: reading the dataset's files takes long: {manifest.pending} of"
            f" {manifest.pending + len(manifest.files)} images have no digest yet, so this run says nothing of its"
            " data; the next one goes on with them"
        )

    def _tell_missing(self, manifest: Manifest) -> None:
        if missing := manifest.missing:
            first = missing[0]
            self._messages.warning(
                f"comet: {len(missing)} of {len(manifest.files)} image files cannot be referred to, as {first.path}"
                f" ({first.reason}); the manifest lists them"
            )

    def _use_version(self, experiment: CometExperiment, record: ExperimentRecord, manifest: Manifest) -> bool:
        """Whether the experiment has its version now."""
        _shorten_errors()
        try:
            version = _find(experiment, manifest, self._how) or experiment.log_artifact(
                make_artifact(record, manifest, upload=self._how == "upload")
            )
        except Exception as error:  # noqa: BLE001 - the client raises whatever its transport raised
            what = f"the dataset's version was not sent ({_said(error)})"
            if self._lost is not None and _is_away(error):
                self._lost(what)
            else:
                self._messages.warning(f"comet: {what}; its manifest is sent as {MANIFEST_NAME}")
            return False
        experiment.log_other("dataset_version", f"{version.workspace}/{version.name}:{version.version}")
        return True


def _said(error: Exception) -> str:
    """What the client says, or what is behind its "check the logs"."""
    import requests
    from comet_ml.exceptions import CometRestApiException

    cause = error.__cause__ or error
    if isinstance(cause, CometRestApiException):
        status = f"the server answered {cause.response.status_code}"
        return f"{status}: {redact(str(cause.safe_msg))}" if cause.safe_msg else status
    if isinstance(cause, requests.RequestException):
        return f"the server does not answer ({type(cause).__name__})"
    return f"{type(error).__name__}: {redact(' '.join(str(error).split()))}"


def _is_away(error: Exception) -> bool:
    """Whether another time may do: no connection, no answer, a server in trouble, a key that is no longer taken."""
    import requests
    from comet_ml.exceptions import CometRestApiException

    cause = error.__cause__ or error
    if isinstance(cause, CometRestApiException):
        status = cause.response.status_code
        return status in (401, 403, 408, 429) or status >= 500
    return isinstance(cause, requests.RequestException | OSError)


class _FirstOnly(logging.Filter):
    """The client logs every file of an Artifact that failed, which may be all of 100,000."""

    def __init__(self) -> None:
        super().__init__()
        self._told = False

    def filter(self, record: logging.LogRecord) -> bool:
        from comet_ml.logging_messages import (
            ARTIFACT_ASSET_UPLOAD_FAILED,
            ARTIFACT_FAILED_TO_MARK_VERSION_AS_FAILED_ERROR,
        )

        if record.msg not in (ARTIFACT_ASSET_UPLOAD_FAILED, ARTIFACT_FAILED_TO_MARK_VERSION_AS_FAILED_ERROR):
            return True
        told, self._told = self._told, True
        return not told


def _shorten_errors() -> None:
    logger = logging.getLogger("comet_ml.artifacts.artifact_logger")
    if not any(isinstance(item, _FirstOnly) for item in logger.filters):
        logger.addFilter(_FirstOnly())


def _find(experiment: CometExperiment, manifest: Manifest, how: str) -> LoggedArtifact | None:
    """The version of that data, which the experiment thereby uses; None where there is none, or it is not whole."""
    from comet_ml.exceptions import ArtifactNotFinalException, ArtifactNotFound

    try:
        return experiment.get_artifact(artifact_name(manifest.dataset), version_or_alias=_alias(manifest, how))
    except (ArtifactNotFound, ArtifactNotFinalException):
        return None


def artifact_name(dataset: str) -> str:
    """The dataset's name, with what Comet does not take replaced."""
    return UNSAFE.sub("-", dataset).strip("-.")[:LONGEST_NAME] or ARTIFACT_TYPE


def _alias(manifest: Manifest, how: str) -> str:
    """By which a version is found: one with the files holds references, too, but not the other way round."""
    return f"{'files' if how == 'upload' else 'content'}-{manifest.digest[:SHORT]}"


def make_artifact(record: ExperimentRecord, manifest: Manifest, *, upload: bool) -> Artifact:
    """The manifest, the ground truth and the splits as files; every image as a reference, or as a file, too."""
    from comet_ml import Artifact

    fingerprint = manifest.fingerprint
    aliases = [fingerprint["sha256"][:SHORT], _alias(manifest, "reference")]
    artifact = Artifact(
        artifact_name(manifest.dataset),
        ARTIFACT_TYPE,
        aliases=[*aliases, _alias(manifest, "upload")] if upload else aliases,
        metadata={
            "fingerprint": fingerprint["sha256"],
            "manifest_sha256": manifest.digest,
            "class_names": list(fingerprint["class_names"]),
            "images": fingerprint["images"],
            "objects": fingerprint["objects"],
            "splits": dict(fingerprint["split_sizes"]),
            "missing_files": len(manifest.missing),
        },
    )
    written = write_manifest(record, manifest)
    artifact.add(str(written) if written else _in_memory(manifest), logical_path="manifest.json")
    for file in (record.files.ground_truth, record.files.splits):
        artifact.add(str(file), logical_path=file.name)
    _add_images(artifact, manifest, upload=upload)
    return artifact


def _in_memory(manifest: Manifest) -> Any:
    from io import BytesIO

    return BytesIO(manifest.content())


def _add_images(artifact: Artifact, manifest: Manifest, *, upload: bool) -> None:
    names: set[str] = set()
    for file in manifest.files:
        if file.path is None or not file.is_there or file.name in names:  # a file may hold several images
            continue
        names.add(file.name)
        metadata = {"sha256": file.sha256, "split": file.image.split, "image_id": file.image.truth.image_id}
        name = f"images/{file.name}"
        if upload:
            artifact.add(str(file.path), logical_path=name, metadata=metadata)
        else:
            # Without the synchronisation, which is for folders in a cloud.
            artifact.add_remote(Path(file.path).as_uri(), logical_path=name, metadata=metadata, sync_mode=False)
