"""The files of a new plugin, from the templates. Nothing is written here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from detkit import __version__
from detkit.hookspecs import HOOK_API
from detkit.scaffold.drawing import drawn_data
from detkit.scaffold.kinds import Scaffold

TEMPLATES = Path(__file__).with_name("templates")
#: What stands for the name in the templates, which are files that tools can check.
PLACEHOLDER = "my_plugin"
#: The folder of the images that an example needs.
DATA = "data"


@dataclass(frozen=True, slots=True)
class NewFile:
    """Attributes: path: relative, with /. content: as written. what: it is, in a few words; empty for lesser files."""

    path: str
    content: bytes
    what: str = ""

    def write(self, stream: IO[bytes]) -> None:
        """Its content into an open file."""
        stream.write(self.content)


def plugin_files(name: str, scaffold: Scaffold, *, package: bool) -> list[NewFile]:
    """All files of a plugin: in one folder, or of a package."""
    return list(_package(name, scaffold) if package else _single(name, scaffold))


def _single(name: str, scaffold: Scaffold) -> Iterator[NewFile]:
    yield _filled(name, scaffold, f"{scaffold.word}/plugin.py", f"{name}.py", f"the {scaffold.title}")
    yield _filled(name, scaffold, f"{scaffold.word}/tests.py", f"test_{name}.py", _tests(scaffold))
    yield _filled(name, scaffold, f"{scaffold.word}/experiment.toml", "experiment.toml", "a small run that uses it")
    yield from _data(scaffold)


def _package(name: str, scaffold: Scaffold) -> Iterator[NewFile]:
    folder = f"src/{name}"
    if (TEMPLATES / scaffold.word / "package.py").exists():
        yield _filled(name, scaffold, f"{scaffold.word}/package.py", f"{folder}/__init__.py", "what detkit reads")
        yield _filled(name, scaffold, f"{scaffold.word}/network.py", f"{folder}/network.py", f"the {scaffold.title}")
    else:
        yield _filled(name, scaffold, f"{scaffold.word}/plugin.py", f"{folder}/__init__.py", f"the {scaffold.title}")
    yield NewFile(f"{folder}/py.typed", b"")
    yield _filled(name, scaffold, f"{scaffold.word}/tests.py", f"tests/test_{name}.py", _tests(scaffold))
    spec = _filled(name, scaffold, f"{scaffold.word}/experiment.toml", "experiment.toml", "a small run that uses it")
    yield NewFile(spec.path, _of_package(name, spec.content), spec.what)
    yield _filled(
        name, scaffold, "package/pyproject.template", "pyproject.toml", "with the entry point that detkit finds"
    )
    yield _filled(name, scaffold, "package/README.md", "README.md")
    yield _filled(name, scaffold, "package/tests.yml", ".github/workflows/tests.yml", "runs the tests on GitHub")
    yield _filled(name, scaffold, "package/gitignore.template", ".gitignore")
    yield from _data(scaffold)


def _tests(scaffold: Scaffold) -> str:
    return "its tests, with those of detkit's kit" if scaffold.kind else "its tests"


def _data(scaffold: Scaffold) -> Iterator[NewFile]:
    if scaffold.data:
        for number, (path, content) in enumerate(drawn_data()):
            yield NewFile(f"{DATA}/{path}", content, "drawn images, and their table" if number == 0 else "")


def _filled(name: str, scaffold: Scaffold, template: str, path: str, what: str = "") -> NewFile:
    text = (TEMPLATES / template).read_text(encoding="utf-8").replace(PLACEHOLDER, name)
    version = ".".join(__version__.split(".")[:2])
    # What the templates state is right for some release; a plugin is written for this one.
    text = re.sub(r'^requires_detkit = "[^"]*"', f'requires_detkit = ">={version}"', text, flags=re.MULTILINE)
    text = re.sub(r"^detkit_api = \d+", f"detkit_api = {HOOK_API}", text, flags=re.MULTILINE)
    if template.startswith("package/"):
        use = scaffold.use.format(name=name)
        for key, value in {
            "@DISTRIBUTION@": distribution_of(name),
            "@KIND@": scaffold.title,
            "@SUMMARY@": scaffold.summary,
            "@USE@": f"{use[0].upper()}{use[1:]}.",
            "@VERSION@": version,
            "@TESTS@": (
                f"Its tests run detkit's own rules for a {scaffold.title} (`detkit.testing`), and a few of its own."
                if scaffold.kind
                else "Its tests run it as somebody types it."
            ),
        }.items():
            text = text.replace(key, value)
    return NewFile(path, text.encode(), what)


def distribution_of(name: str) -> str:
    """How the package is called where it is installed from: detkit-my-plugin."""
    return "detkit-" + name.removeprefix("detkit_").replace("_", "-")


def _of_package(name: str, spec: bytes) -> bytes:
    """The spec of a plugin that is installed: found without being named, and no file to speak of."""
    lines = spec.decode().splitlines(keepends=True)
    text = "".join(line for line in lines if not line.startswith("plugins = "))
    return text.replace(f"python {name}.py", f"detkit {name}").replace(f"{name}.py", name).encode()
