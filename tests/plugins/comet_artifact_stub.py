"""Artifacts as Comet's server keeps them: versions with aliases, found by either, final once all their files came."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from plugins.comet_received import Request

#: Comet's codes (comet_ml/artifacts/artifact_getter.py).
NOT_FOUND = 624523
NOT_FINAL = 90403


@dataclass
class Version:
    """One version of an Artifact.

    Attributes:
        files: logical path to content. remote: logical path to (uri, metadata). state: "OPEN", "CLOSED" or "ERROR".
        users: keys of the experiments that asked for it.
    """

    id: str
    name: str
    number: str
    body: dict[str, Any]
    aliases: set[str]
    files: dict[str, bytes] = field(default_factory=dict)
    remote: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    state: str = "OPEN"
    users: list[str] = field(default_factory=list)

    @property
    def metadata(self) -> dict[str, Any]:
        return dict(json.loads(self.body["versionMetadata"]))


@dataclass
class Artifacts:
    """A reply for `Stub.extra`."""

    versions: list[Version] = field(default_factory=list)

    def __call__(self, request: Request) -> tuple[int, Any] | None:
        path = request.path
        if path.endswith("/write/artifacts/upsert"):
            return self._upsert(request.body)
        if path.endswith("/artifacts/version"):
            return self._details(request.query)
        if path.endswith("/write/artifacts/state"):
            self._by_id(request.body["artifactVersionId"]).state = request.body["state"]
            return 200, {}
        if path.endswith("/write/artifact/assets/remote/batch"):
            for row in request.body["remoteArtifactAssetRequests"]:
                metadata = row["metadata"]
                known = json.loads(metadata) if isinstance(metadata, str) else metadata
                self._by_id(row["artifactVersionId"]).remote[row["fileName"]] = (row["link"], known)
            return 200, {}
        if path.endswith("/asset/upload") and request.query.get("artifactVersionId"):
            self._by_id(request.query["artifactVersionId"]).files[request.query["fileName"]] = request.body["file"]
            return 200, {}
        return None

    def _by_id(self, version_id: str) -> Version:
        return next(version for version in self.versions if version.id == version_id)

    def _upsert(self, body: dict[str, Any]) -> tuple[int, Any]:
        earlier = [version for version in self.versions if version.name == body["artifactName"]]
        for version in earlier:
            version.aliases -= set(body["alias"])  # an alias is of one version, the latest that was given it
        number = f"{len(earlier) + 1}.0.0"
        version = Version(f"v{len(self.versions)}", body["artifactName"], number, body, set(body["alias"]))
        self.versions.append(version)
        return 200, {
            "artifactId": body["artifactName"],
            "artifactVersionId": version.id,
            "currentVersion": number,
            "previousVersion": earlier[-1].number if earlier else None,
        }

    def _details(self, query: dict[str, str]) -> tuple[int, Any]:
        if "versionId" in query:
            return self._found(self._by_id(query["versionId"]))
        name, wanted = unquote(query["artifactName"]), query["versionOrAlias"]
        for version in self.versions:
            if version.name == name and wanted in {version.number, *version.aliases}:
                if version.state != "CLOSED":
                    return 400, {"sdk_error_code": NOT_FINAL, "msg": "not final"}
                version.users.append(query["consumerExperimentKey"])
                return self._found(version)
        return 400, {"sdk_error_code": NOT_FOUND, "msg": "no such artifact"}

    def _found(self, version: Version) -> tuple[int, Any]:
        return 200, {
            "artifact": {
                "artifactId": version.name,
                "artifactName": version.name,
                "artifactType": version.body["artifactType"],
                "tags": [],
                "workspaceName": "lab",
            },
            "artifactVersion": version.number,
            "artifactVersionId": version.id,
            "alias": sorted(version.aliases),
            "metadata": version.body["versionMetadata"],
            "experimentKey": version.body["experimentKey"],
            "sizeInBytes": 0,
            "tags": [],
        }
