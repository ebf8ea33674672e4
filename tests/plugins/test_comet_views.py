"""`detkit comet views` with the real client against a stub: what is saved, what is posted, what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from plugins.comet_process import KEY, Ended, needs_client, online, run
from plugins.comet_received import Request
from plugins.comet_stub import Stub

pytestmark = needs_client

EXPERIMENT = "e1" * 16
CHARTS = {
    "sections": [
        {
            "title": "Genauigkeit für alle",
            "panels": [
                {
                    "id": "p1",
                    "metric": "validate_coco/ap50",
                    "projectId": "source-id",
                    "smoothing": 0.30000000000000004,
                },
                {"id": "p2", "python": "panel-7", "experimentKey": EXPERIMENT, "owner": {"createdBy": "ann"}},
            ],
            "scopes": ["all", "source-id", EXPERIMENT, 3],
        }
    ],
    "workspaceName": "ann",
    # A legend, not the workspace.
    "title": "ann",
    "team": "team-id",
}
CLEAN_CHARTS = {
    "sections": [
        {
            "title": "Genauigkeit für alle",
            "panels": [
                {"id": "p1", "metric": "validate_coco/ap50", "smoothing": 0.30000000000000004},
                {"id": "p2", "python": "panel-7", "owner": {}},
            ],
            "scopes": ["all", 3],
        }
    ],
    "title": "ann",
}
#: As the server gives them, with the keys that the client's View reads.
SOURCE_VIEWS: list[dict[str, Any]] = [
    {
        "templateName": "Overview",
        "templateId": "view-1",
        "projectId": "source-id",
        "experimentQueryState": json.dumps({"rules": [], "sort": "view-1"}),
        "dashboardChartState": json.dumps(CHARTS),
        "reactGridTableState": json.dumps([{"column": "Name", "width": 120}]),
        "v2": {"experimentKey": EXPERIMENT, "layout": {"columns": 2}},
        "createdBy": "ann",
        "pinnedExperiments": [EXPERIMENT],
        "codePanelTemplateIds": ["panel-7"],
        "lastUpdate": 1,
    },
    {"templateName": "Debugging", "templateId": "view-2", "projectId": "source-id"},
]


@dataclass
class ViewsStub:
    """Projects with views; an entry of `Stub.extra`.

    Attributes:
        views: (workspace, project) to the views of it.
        posted: bodies of the requests that make or replace views.
        takes: how many of them are taken; the others are answered 500.
    """

    views: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    posted: list[dict[str, Any]] = field(default_factory=list)
    takes: int = 100

    def __call__(self, request: Request) -> tuple[int, Any] | None:
        if request.path.endswith("/account-details"):
            return 200, {"userName": "ann", "defaultWorkspaceName": "ann"}
        if request.path.endswith("/v2/projects"):
            return 200, {"projects": [{"projectName": project} for _, project in self.views]}
        if request.path.endswith("/v2/project"):
            at = (request.query["workspaceName"], request.query["projectName"])
            if at not in self.views:
                return 404, {"msg": "no such project"}
            return 200, {"projectId": f"{at[1]}-id", "teamId": "team-id", "workspaceName": at[0], "projectName": at[1]}
        if request.path.endswith("/views/get-all"):
            return 200, {"views": self._of(request.query["projectId"])}
        if request.path.endswith("/write/views/upsert"):
            return self._upsert(request.body)
        return None

    def _of(self, project_id: str) -> list[dict[str, Any]]:
        return next(views for (_, project), views in self.views.items() if f"{project}-id" == project_id)

    def _upsert(self, body: dict[str, Any]) -> tuple[int, Any]:
        if len(self.posted) >= self.takes:
            return 500, {}
        self.posted.append(body)
        views = self._of(body["projectId"])
        made = {"templateId": f"made-{len(self.posted)}", **body}
        views[:] = [view for view in views if view["templateId"] != made["templateId"]] + [made]
        return 200, made


@pytest.fixture
def comet() -> ViewsStub:
    return ViewsStub({("ann", "source"): [dict(view) for view in SOURCE_VIEWS], ("ann", "target"): []})


@pytest.fixture
def stub(comet: ViewsStub) -> Iterator[Stub]:
    with Stub(extra=[comet]) as stub:
        yield stub


Views = Callable[..., Ended]


@pytest.fixture
def views(tmp_path: Path, stub: Stub) -> Views:
    """`detkit comet views ...`, in a folder of its own."""

    def views(*arguments: str, variables: dict[str, str] | None = None) -> Ended:
        given = online(stub) if variables is None else variables
        ended = run(["-m", "detkit", "comet", "views", *arguments], tmp_path, given)
        assert "Traceback" not in ended.err
        assert ended.seconds < 20
        return ended

    return views


SOURCE = ("--workspace", "ann", "--project", "source")
TARGET = ("--workspace", "ann", "--project", "target")


def test_views_go_from_one_project_to_another_without_ids(views: Views, comet: ViewsStub, tmp_path: Path) -> None:
    saved = views("save", "views.json", *SOURCE, "--json")
    assert saved.code == 0, saved.err
    assert json.loads(saved.out) == {
        "format_version": 1,
        "file": "views.json",
        "workspace": "ann",
        "project": "source",
        "views": [
            {"name": "Debugging", "removed": [], "python_panels": []},
            {
                "name": "Overview",
                "removed": [
                    "v2.experimentKey",
                    "query_state.sort",
                    "chart_state.sections[0].panels[0].projectId",
                    "chart_state.sections[0].panels[1].experimentKey",
                    "chart_state.sections[0].panels[1].owner.createdBy",
                    "chart_state.sections[0].scopes[1]",
                    "chart_state.sections[0].scopes[2]",
                    "chart_state.workspaceName",
                    "chart_state.team",
                ],
                "python_panels": ["panel-7"],
            },
        ],
    }
    assert saved.err.splitlines() == [
        "Overview: left out 9 values that only ann/source knows",
        "Overview: uses 1 Python panels, which another workspace must have",
        "2 views of ann/source are in views.json",
    ]
    text = (tmp_path / "views.json").read_text(encoding="utf-8")
    assert json.loads(text) == {
        "format": "detkit comet views",
        "format_version": 1,
        "views": [
            {"name": "Debugging"},
            {
                "name": "Overview",
                "query_state": {"rules": []},
                "chart_state": CLEAN_CHARTS,
                "table_state": [{"column": "Name", "width": 120}],
                "v2": {"layout": {"columns": 2}},
            },
        ],
    }
    # Read by people and compared line by line.
    assert '"title": "Genauigkeit für alle",\n' in text

    planned = views("apply", "views.json", *TARGET, "--dry-run")
    assert (planned.code, planned.out) == (0, "Debugging: would be created\nOverview: would be created\n")
    assert comet.posted == []

    applied = views("apply", "views.json", *TARGET, "--json")
    assert applied.code == 0, applied.err
    assert json.loads(applied.out) == {
        "format_version": 1,
        "file": "views.json",
        "workspace": "ann",
        "project": "target",
        "dry_run": False,
        "views": [
            {"name": "Debugging", "action": "created", "id": "made-1"},
            {"name": "Overview", "action": "created", "id": "made-2"},
        ],
    }
    debugging, overview = comet.posted
    assert debugging == {"projectId": "target-id", "templateName": "Debugging"}
    assert {name: overview[name] for name in ("projectId", "templateName", "v2")} == {
        "projectId": "target-id",
        "templateName": "Overview",
        "v2": {"layout": {"columns": 2}},
    }
    assert json.loads(overview["dashboardChartState"]) == CLEAN_CHARTS
    assert json.loads(overview["experimentQueryState"]) == {"rules": []}
    assert json.loads(overview["reactGridTableState"]) == [{"column": "Name", "width": 120}]
    assert "source" not in json.dumps(comet.posted)
    assert EXPERIMENT not in json.dumps(comet.posted)


def test_views_of_the_same_name_are_replaced_only_when_told(views: Views, comet: ViewsStub) -> None:
    before = {"templateName": "Overview", "templateId": "old-1", "dashboardChartState": "{}"}
    comet.views["ann", "target"].append(before)
    # The account's own workspace.
    assert views("save", "views.json", "--name", "Overview", "--project", "source").code == 0
    refused = views("apply", "views.json", *TARGET)
    assert refused.code == 2
    assert refused.err == (
        "error: comet views: ann/target has a view 'Overview';"
        " replace it with --replace, or choose others with --name\n"
    )
    assert comet.posted == []
    anywhere = views("apply", "views.json", "--workspace", "ann", "--replace")
    assert (anywhere.code, "which project? Name it with --project, or set COMET_PROJECT_NAME" in anywhere.err) == (
        2,
        True,
    )
    replaced = views("apply", "views.json", *TARGET, "--replace")
    assert (replaced.code, replaced.out) == (0, "Overview: replaced\n")
    (posted,) = comet.posted
    assert (posted["templateId"], posted["projectId"]) == ("old-1", "target-id")
    assert json.loads(posted["dashboardChartState"]) == CLEAN_CHARTS
    assert [view["templateId"] for view in comet.views["ann", "target"]] == ["old-1"]

    comet.views["ann", "target"].append({**before, "templateId": "old-2"})
    several = views("apply", "views.json", *TARGET, "--replace")
    assert (several.code, len(comet.posted)) == (2, 1)
    assert "ann/target has 2 views 'Overview'; rename or delete some in Comet" in several.err


def test_a_file_is_not_overwritten_unless_told(views: Views, stub: Stub, tmp_path: Path) -> None:
    (tmp_path / "views.json").write_text("mine")
    kept = views("save", "views.json", *SOURCE)
    assert (kept.code, (tmp_path / "views.json").read_text()) == (2, "mine")
    assert "views.json exists; replace it with --overwrite, or name another file" in kept.err
    assert "there is no folder" in views("save", "none/views.json", *SOURCE).err
    assert stub.requests == []
    configured = online(stub) | {"COMET_WORKSPACE": "ann", "COMET_PROJECT_NAME": "source"}
    written = views("save", "views.json", "--overwrite", "--name", "Debugging", variables=configured)
    assert written.code == 0, written.err
    assert [view["name"] for view in json.loads((tmp_path / "views.json").read_text())["views"]] == ["Debugging"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".partial") == []


def test_what_is_not_there_is_named(views: Views, comet: ViewsStub) -> None:
    missing = views("save", "views.json", "--workspace", "ann", "--project", "sauce")
    assert missing.code == 2
    assert missing.err == (
        "error: comet views: there is no project 'sauce' in the workspace 'ann'; there are: source, target\n"
    )
    unknown = views("save", "views.json", *SOURCE, "--name", "Overviw")
    assert "no view 'Overviw' in the project ann/source; there are: Debugging, Overview" in unknown.err
    empty = views("save", "views.json", *TARGET)
    assert "the project ann/target has no views; save one in Comet first" in empty.err
    assert "No such command 'list'" in views("list").err
    comet.views["ann", "source"][0]["dashboardChartState"] = "{broken"
    broken = views("save", "views.json", *SOURCE)
    assert (broken.code, "chart_state must be a valid JSON string" in broken.err) == (2, True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "views.json cannot be read: No such file or directory"),
        (b"\xff\xfe", "views.json is no text in UTF-8"),
        (b'{\n"format": }', "views.json:2: no JSON: "),
        (b"[]", "views.json holds no views; `detkit comet views save` writes files that do"),
        (b'{"format": "detkit comet views", "format_version": 2}', "has format_version 2, this detkit reads 1"),
        (b'{"format": "detkit comet views", "format_version": 1}', "`views` is no list"),
        (b'{"format": "detkit comet views", "format_version": 1, "views": [{"name": ""}]}', "view 1 has no name"),
        (
            b'{"format": "detkit comet views", "format_version": 1, "views": [{"name": "A", "states": 1}]}',
            "view 1, 'A': there is no 'states'; there are: name, query_state, chart_state, table_state, v2, v3",
        ),
        (
            b'{"format": "detkit comet views", "format_version": 1, "views": [{"name": "A"}, {"name": "A"}]}',
            "several views are named 'A'; rename all but one",
        ),
    ],
)
def test_a_file_that_cannot_be_applied(
    content: bytes | None, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process: what is wrong with a file is said before the client is imported."""
    from click.testing import CliRunner

    from detkit import UserError
    from detkit_comet.commands import comet as group

    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("views.json").write_bytes(content)
    ended = CliRunner().invoke(group, ["views", "apply", "views.json", *TARGET])
    assert isinstance(ended.exception, UserError)
    assert words in str(ended.exception)


def test_what_was_done_before_the_server_failed_is_said(views: Views, comet: ViewsStub) -> None:
    assert views("save", "views.json", *SOURCE).code == 0
    comet.takes = 1
    failed = views("apply", "views.json", *TARGET)
    assert failed.code == 1
    assert "is out of order (500); try again later; the view 'Overview' was not made; made before it: 'Debugging'" in (
        failed.err
    )
    print(f"500 at the second view: {failed.seconds:.1f} s")


def test_no_key_a_refused_key_no_server(views: Views, stub: Stub, tmp_path: Path) -> None:
    keyless = views("save", "views.json", *SOURCE, variables={"COMET_URL_OVERRIDE": stub.url})
    assert keyless.code == 2
    assert "there is no API key; set the environment variable COMET_API_KEY, or run `comet login` once" in keyless.err
    assert stub.requests == []
    # The client quotes the server, and an impolite server quotes the key.
    stub.extra.insert(
        0, lambda request: (401, {"msg": f"bad key {KEY}"}) if request.path.endswith("/v2/project") else None
    )
    refused = views("save", "views.json", *SOURCE)
    assert refused.code == 2
    assert "refuses the API key (401); set the environment variable COMET_API_KEY, or run `comet login`" in refused.err
    stub.extra[0] = lambda request: (400, {"msg": f"odd {KEY}"}) if request.path.endswith("/v2/project") else None
    odd = views("save", "views.json", *SOURCE)
    assert "refuses (400: odd ***)" in odd.err
    stub.stop()
    dead = views("save", "views.json", *SOURCE)
    assert dead.code == 2
    assert "does not answer (ConnectionError); see whether the network is up" in dead.err
    print(f"no server: {dead.seconds:.1f} s")
    assert not (tmp_path / "views.json").exists()


def test_help_lists_the_commands_without_the_client(tmp_path: Path) -> None:
    listed = run(["-m", "detkit", "comet", "--help"], tmp_path, {})
    assert re.search(r"views +Save the views of a project to a file", listed.out)
    code = (
        "import sys; from detkit.cli.main import run;"
        "run(['comet', 'views', 'save', '--help']); print('comet_ml' in sys.modules)"
    )
    ended = run(["-c", code], tmp_path, {})
    assert "--overwrite" in ended.out
    assert ended.out.endswith("False\n")


def test_the_reference_names_every_option() -> None:
    import click

    from detkit_comet.views import command

    page = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")
    assert isinstance(command, click.Group)
    for name, subcommand in command.commands.items():
        section = page.partition(f"## `detkit comet views {name} ")[2].partition("\n## ")[0]
        options = [option for parameter in subcommand.params for option in parameter.opts if option.startswith("--")]
        assert [option for option in options if f"`{option}" not in section] == []
