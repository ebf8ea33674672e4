"""`detkit comet views`: the views (dashboards) of a project, to a file and from there to another project.

What a view's states hold is Comet's own and written down nowhere. They are carried as they are, but for what belongs
to the project that they come from.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from detkit import DetkitError, RecordError, UserError, write_atomically
from detkit_comet import client
from detkit_comet.access import asking, require_access

WHO = "comet views"
TIMEOUT_S = 10
FORMAT, FORMAT_VERSION = "detkit comet views", 1

#: Of `comet_ml`'s View: what holds JSON as text, what holds it as values.
STATES = ("query_state", "chart_state", "table_state")
VALUES = ("v2", "v3")
#: Keys that the client's View knows as those of a project's own things, as the server spells them.
OWN_KEYS = frozenset({"projectId", "experimentKey", "pinnedExperiments", "createdBy"})


# --- the commands ----------------------------------------------------------------------------------------------------

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _project_options(command: Callable[..., Any]) -> Callable[..., Any]:
    options: Sequence[Decorator] = (
        click.option("--workspace", metavar="NAME", help="By default Comet's configured one, else your own."),
        click.option("--project", metavar="NAME", help="By default Comet's configured one."),
        click.option("--name", "names", multiple=True, metavar="VIEW", help="Only this view. May be repeated."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON."),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group("views")
def command() -> None:
    """Save the views of a project in Comet to a file, and apply them to another project."""


@command.command("save")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_project_options
@click.option("--overwrite", is_flag=True, help="Replace FILE where it exists.")
def save(
    file: Path, workspace: str | None, project: str | None, names: tuple[str, ...], as_json: bool, overwrite: bool
) -> None:
    """Write the views of a project to FILE, without what belongs to that project alone."""
    if file.exists() and not overwrite:
        raise UserError(f"{WHO}: {file} exists; replace it with --overwrite, or name another file")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{WHO}: there is no folder {file.absolute().parent}")
    found = Project.open(workspace, project)
    views = _chosen(found.views(), names, f"the project {found}")
    if not views:
        raise UserError(f"{WHO}: the project {found} has no views; save one in Comet first")
    portable = [_portable(view, found) for view in sorted(views, key=lambda view: str(view.name))]
    _write(file, [saved.document for saved in portable])
    for name in _repeated([saved.name for saved in portable]):
        click.echo(f"warning: several views are named {name!r}; rename all but one before {file} is applied", err=True)
    for saved in portable:
        if saved.removed:
            click.echo(f"{saved.name}: left out {len(saved.removed)} values that only {found} knows", err=True)
        if saved.panels:
            click.echo(
                f"{saved.name}: uses {len(saved.panels)} Python panels, which another workspace must have", err=True
            )
    click.echo(f"{len(portable)} views of {found} are in {file}", err=True)
    if as_json:
        listed = [{"name": saved.name, "removed": saved.removed, "python_panels": saved.panels} for saved in portable]
        _print_json({"file": str(file), "workspace": found.workspace, "project": found.name, "views": listed})


@command.command("apply")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@_project_options
@click.option("--replace", is_flag=True, help="Replace views of the same names instead of refusing.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def apply(
    file: Path,
    workspace: str | None,
    project: str | None,
    names: tuple[str, ...],
    as_json: bool,
    replace: bool,
    dry_run: bool,
) -> None:
    """Make the views of FILE in a project."""
    documents = _chosen(_read(file), names, str(file))
    found = Project.open(workspace, project)
    there = found.views()
    plan = [_Step.of(document, there, found, replace=replace) for document in documents]
    done = _carry_out(plan, found, dry_run=dry_run)
    word = "would be " if dry_run else ""
    if as_json:
        listed = [{"name": step.name, "action": step.action, "id": made} for step, made in done]
        _print_json(
            {
                "file": str(file),
                "workspace": found.workspace,
                "project": found.name,
                "dry_run": dry_run,
                "views": listed,
            }
        )
    else:
        for step, _ in done:
            click.echo(f"{step.name}: {word}{step.action}")
    click.echo(f"{len(done)} views of {file} {'would be' if dry_run else 'are'} in {found}", err=True)


def _print_json(value: dict[str, Any]) -> None:
    click.echo(json.dumps({"format_version": FORMAT_VERSION, **value}, indent=2, ensure_ascii=False))


# --- a project -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Project:
    """A project in Comet.

    Attributes:
        api: `comet_ml.API`. facts: what the server says of the project.
    """

    api: Any
    workspace: str
    name: str
    facts: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.workspace}/{self.name}"

    @classmethod
    def open(cls, workspace: str | None, name: str | None) -> Project:
        """The project of these names, or of Comet's configuration.

        Raises:
            UserError: there is none, or no way to it; says what to do.
        """
        require_access(WHO, TIMEOUT_S)
        # The client's three retries would take 14 s.
        os.environ.setdefault("COMET_HTTP_SESSION_RETRY_TOTAL", "1")
        os.environ.setdefault("COMET_TIMEOUT_API", str(TIMEOUT_S))
        name = name or client.configured("comet.project_name")
        if name is None:
            raise UserError(f"{WHO}: which project? Name it with --project, or set COMET_PROJECT_NAME")
        with asking(WHO, UserError):
            api = client.load_client().API()
            workspace = workspace or client.configured("comet.workspace") or str(api.get_default_workspace())
            facts = api.get_project(workspace, name)
        if facts is None:
            there = _projects(api, workspace)
            raise UserError(f"{WHO}: there is no project {name!r} in the workspace {workspace!r}{there}")
        if not hasattr(api, "get_views"):
            raise UserError(f"{WHO}: this comet_ml knows no views; install a later one: `pip install -U comet_ml`")
        return cls(api, workspace, name, facts)

    def views(self) -> list[Any]:
        """All its views, as `comet_ml`'s View.

        Raises:
            UserError: they cannot be had.
        """
        with asking(WHO, UserError):
            return list(self.api.get_views(self.workspace, self.name))

    def own_values(self) -> set[str]:
        """Its ids, by which nothing else is meant."""
        return {value for key, value in self.facts.items() if key.lower().endswith("id") and isinstance(value, str)}


def _projects(api: Any, workspace: str) -> str:
    """What there is instead of a project that is not there; empty where even that is not said."""
    try:
        with asking(WHO, UserError):
            names = api.get_projects(workspace)
    except UserError:
        return ""
    return f"; there are: {', '.join(sorted(map(str, names)))}" if names else "; it has none that you may see"


def _chosen(views: list[Any], names: Sequence[str], where: str) -> list[Any]:
    """The views of these names, or all."""
    there = [_name(view) for view in views]
    for name in names:
        if name not in there:
            raise UserError(f"{WHO}: no view {name!r} in {where}; there are: {', '.join(sorted(there)) or 'none'}")
    return [view for view in views if not names or _name(view) in names]


def _name(view: Any) -> str:
    return str(view["name"] if isinstance(view, dict) else view.name)


def _repeated(names: Sequence[str]) -> list[str]:
    return sorted(name for name, count in Counter(names).items() if count > 1)


# --- from a project --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Saved:
    """A view as it goes to a file.

    Attributes:
        removed: where something was taken out, as `chart_state.panels[0].projectId`.
        panels: ids of the Python panels that it uses; they stay.
    """

    document: dict[str, Any]
    removed: list[str]
    panels: list[str]

    @property
    def name(self) -> str:
        return str(self.document["name"])


def _portable(view: Any, project: Project) -> Saved:
    """The view without ids of its project, its states as JSON values."""
    own = project.own_values() | {*(view.pinned_experiments or ())}
    # Not who made it: a person's name may be a metric's, or a title.
    own |= {view.template_id, view.project_id, view.experiment_key, view.created_from_template_id}
    cleaner = _Cleaner(frozenset(value for value in own if value), project)
    plain = view.as_portable()
    document: dict[str, Any] = {"name": view.name}
    for field in (*STATES, *VALUES):
        value = getattr(plain, field)
        if value is not None:
            document[field] = cleaner.clean(json.loads(value) if field in STATES else value, field)
    # What `as_portable` has taken out of the two is said as well.
    taken = [
        f"{field}.experimentKey"
        for field in VALUES
        if isinstance(getattr(view, field), dict) and "experimentKey" in getattr(view, field)
    ]
    return Saved(document, [*taken, *cleaner.removed], sorted(map(str, view.code_panel_template_ids or ())))


class _Cleaner:
    """Takes out of JSON values what belongs to a project, and remembers where."""

    def __init__(self, own: frozenset[str], project: Project) -> None:
        self._own = own
        self._named = {"workspace": project.workspace, "project": project.name}
        self.removed: list[str] = []

    def clean(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            kept = {}
            for key, inner in value.items():
                if key in OWN_KEYS or self._is_own(inner) or self._is_name(key, inner):
                    self.removed.append(f"{path}.{key}")
                else:
                    kept[key] = self.clean(inner, f"{path}.{key}")
            return kept
        if isinstance(value, list):
            items = []
            for index, inner in enumerate(value):
                if self._is_own(inner):
                    self.removed.append(f"{path}[{index}]")
                else:
                    items.append(self.clean(inner, f"{path}[{index}]"))
            return items
        return value

    def _is_own(self, value: Any) -> bool:
        return isinstance(value, str) and value in self._own

    def _is_name(self, key: str, value: Any) -> bool:
        # A workspace may be named like a metric: only under a key that says what is meant.
        return any(word in key.lower() and value == name for word, name in self._named.items())


def _write(file: Path, documents: list[dict[str, Any]]) -> None:
    content = {"format": FORMAT, "format_version": FORMAT_VERSION, "views": documents}
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    try:
        write_atomically(file, lambda stream: stream.write(text.encode()))
    except RecordError as error:
        raise UserError(f"{WHO}: {file} cannot be written: {error.__cause__}") from error


# --- to a project ----------------------------------------------------------------------------------------------------


def _read(file: Path) -> list[dict[str, Any]]:
    """The views in a file.

    Raises:
        UserError: it cannot be read, or holds something else; says where and what.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{WHO}: {file} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{WHO}: {file} is no text in UTF-8") from error
    except json.JSONDecodeError as error:
        raise UserError(f"{WHO}: {file}:{error.lineno}: no JSON: {error.msg}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{WHO}: {file} holds no views; `detkit comet views save` writes files that do")
    if content.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{WHO}: {file} has format_version {content.get('format_version')}, this detkit reads {FORMAT_VERSION}"
        )
    views = content.get("views")
    if not isinstance(views, list):
        raise UserError(f"{WHO}: {file}: `views` is no list")
    for number, view in enumerate(views, 1):
        if not isinstance(view, dict) or not isinstance(view.get("name"), str) or not view["name"]:
            raise UserError(f"{WHO}: {file}: view {number} has no name")
        unknown = sorted(view.keys() - {"name", *STATES, *VALUES})
        if unknown:
            raise UserError(
                f"{WHO}: {file}: view {number}, {view['name']!r}: there is no {unknown[0]!r};"
                f" there are: name, {', '.join((*STATES, *VALUES))}"
            )
    repeated = _repeated([view["name"] for view in views])
    if repeated:
        raise UserError(f"{WHO}: {file}: several views are named {repeated[0]!r}; rename all but one")
    return views


@dataclass(frozen=True, slots=True)
class _Step:
    """What becomes of a view of the file.

    Attributes:
        view: as `comet_ml` takes it; with the id of the one that it replaces.
        action: "created" or "replaced".
    """

    view: Any
    action: str

    @property
    def name(self) -> str:
        return str(self.view.name)

    @classmethod
    def of(cls, document: dict[str, Any], there: list[Any], project: Project, *, replace: bool) -> _Step:
        from comet_ml.api_objects.view import View

        states: dict[str, Any] = {
            field: json.dumps(value, separators=(",", ":"), ensure_ascii=False) if field in STATES else value
            for field, value in document.items()
            if field != "name"
        }
        view = View(name=document["name"], **states)
        same = [other for other in there if other.name == view.name]
        if not same:
            return cls(view, "created")
        if not replace:
            raise UserError(
                f"{WHO}: {project} has a view {view.name!r}; replace it with --replace, or choose others with --name"
            )
        if len(same) > 1:
            raise UserError(f"{WHO}: {project} has {len(same)} views {view.name!r}; rename or delete some in Comet")
        if not same[0].template_id:
            raise UserError(
                f"{WHO}: {project} does not say the id of the view {view.name!r}; delete it in Comet instead"
            )
        return cls(dataclasses.replace(view, template_id=same[0].template_id), "replaced")


def _carry_out(plan: Sequence[_Step], project: Project, *, dry_run: bool) -> list[tuple[_Step, str | None]]:
    """Send the views; each comes back with its id in Comet, None where it has none yet.

    Raises:
        DetkitError: Comet did not take one; says which are done.
    """
    if dry_run:
        return [(step, step.view.template_id) for step in plan]
    done: list[tuple[_Step, str | None]] = []
    for step in plan:
        try:
            done.append((step, _send(step, project)))
        except DetkitError as error:
            finished = ", ".join(repr(other.name) for other, _ in done)
            raise DetkitError(
                f"{error}; the view {step.name!r} was not made; made before it: {finished or 'none'}"
            ) from None
    return done


def _send(step: _Step, project: Project) -> str | None:
    with asking(WHO, DetkitError):
        if step.action == "created":
            made = project.api.create_view(project.workspace, project.name, step.view)
            if made is None:
                raise DetkitError(f"{WHO}: Comet does not say that it has taken the view")
            return None if made.template_id is None else str(made.template_id)
        # `API.create_view` takes the id out, so that it can only make new ones; the request is the same.
        reply = project.api._client.upsert_view(project.facts["projectId"], step.view)
    if reply.get("templateId", step.view.template_id) != step.view.template_id:
        click.echo(f"warning: {step.name}: Comet has made a second view instead of replacing the first", err=True)
    return str(reply.get("templateId", step.view.template_id))
