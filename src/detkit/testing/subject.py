"""What rules are held against: a component with its options, and what is built of them."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from detkit.components import BuildContext, Component, DatasetComponent, Messages, Options, PathBase, Silent
from detkit.data.seeds import seeded
from detkit.errors import UserError
from detkit.plugins import OFFERS, Kind
from detkit.testing.rule import Broken, CannotBuild, NotApplicable, told

T = TypeVar("T")

#: The classes of drawn scenes.
CLASS_NAMES = ("disc", "block")
#: Height and width of the drawn scenes, pixels: small enough for a second's training on a CPU.
SIZE = (96, 128)


@dataclass
class Subject:
    """A component under test.

    Attributes:
        kind: of the component.
        component: the constant that the plugin offers.
        given: its options: plain values as a spec has them, or the options themselves.
        class_names: of the scenes that it is shown.
        size: height and width of the scenes, pixels.
        module: the module that offers it; empty where nobody knows. file: the plugin's file, where it is one.
        training_step: for models that bring a step of their own: its component; None: `model(images, targets)`.
        model: for training steps that need a certain model: its component; None: the kit's own.
        training_step_options, model_options: of those two, as a spec has them.
        folder: scratch.
    """

    kind: Kind
    component: Component[Any, Any]
    given: Mapping[str, Any] | Options = field(default_factory=dict)
    class_names: tuple[str, ...] = CLASS_NAMES
    size: tuple[int, int] = SIZE
    module: str = ""
    file: Path | None = None
    training_step: Component[Any, Any] | None = None
    model: Component[Any, Any] | None = None
    training_step_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    messages: Messages = field(default_factory=Silent)
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="detkit-testing-")))
    _memo: dict[str, tuple[Any, Exception | None]] = field(default_factory=dict)
    _build_failure: str = ""

    # --- building ---

    @property
    def options(self) -> Options:
        """The validated options.

        Raises:
            CannotBuild: they do not fit the component.
        """
        return self.once("options", self._validated)

    def _validated(self) -> Options:
        if isinstance(self.given, Options):
            return self.given
        return validated(self.component, self.given)

    def context(self, **changes: Any) -> BuildContext:
        """What the component is built with: the kit's classes, offline, on the CPU, in scratch folders."""
        values: dict[str, Any] = {
            "class_names": () if self.kind == "dataset" else self.class_names,
            "spec_folder": self.folder,
            "cache_folder": self.scratch("cache"),
            "offline": True,
            "min_size": min(self.size),
            "max_size": max(self.size),
            "seed": 7,
            "run_id": "conformance-seed1",
            "run_folder": self.scratch("run"),
            "messages": self.messages,
        }
        return BuildContext(**(values | changes))

    def build(self, *, random_state: int = 0, **changes: Any) -> Any:
        """A fresh one; the global generators are seeded for it.

        Args:
            changes: of the context.

        Raises:
            CannotBuild: it needs something that is not here, or it fails.
        """
        try:
            with seeded(random_state):
                return self.component.build(self.options, self.context(**changes))
        except UserError as error:
            if self.kind == "model" and len(self.class_names) > 1 and "class_names" not in changes:
                return self._build_for_one_class(error, random_state, changes)
            raise CannotBuild(
                f"cannot be built with these options: {' '.join(str(error).split())}; give others"
                f" (--set KEY=VALUE, or the fixture `options`; `detkit plugins show {self.component.name}` lists them)"
            ) from error
        except CannotBuild:
            raise
        except Exception as error:
            self._build_failure = told(error)
            raise CannotBuild(f"cannot be built: {told(error)}") from error

    def _build_for_one_class(self, refusal: UserError, random_state: int, changes: dict[str, Any]) -> Any:
        """A model that can only tell one class from the background is an honest model, too."""
        every, self.class_names = self.class_names, self.class_names[:1]
        try:
            return self.build(random_state=random_state, **changes)
        except CannotBuild:
            self.class_names = every
            raise CannotBuild(
                f"cannot be built with these options: {' '.join(str(refusal).split())}; give others (--set KEY=VALUE,"
                f" or the fixture `options`; `detkit plugins show {self.component.name}` lists them)"
            ) from refusal

    def read_own_files(self) -> bool:
        """Where nothing was given, and nothing can be built: let a dataset that writes read drawn scenes of its own.

        Returns:
            Whether it does.
        """
        if not isinstance(self.component, DatasetComponent) or self.component.write is None or self.given:
            return False
        try:
            self.build()
        except CannotBuild:
            if self.build_failure:
                return False
        else:
            return False
        from detkit.testing.scenes import Scenes

        folder = self.fresh("own files")
        written = self.component.write(Scenes(8, size=self.size), folder, "copy", self.messages)
        self.given = {"root": str(folder), **written.options}
        self._memo.clear()
        return True

    @property
    def build_failure(self) -> str:
        """What the build raised, where that was no `UserError`."""
        return self._build_failure

    def once(self, name: str, make: Callable[[], T]) -> T:
        """What several rules look at, made by the first one that asks; what it raises is raised again."""
        if name not in self._memo:
            try:
                self._memo[name] = (make(), None)
            except (Broken, NotApplicable) as error:
                self._memo[name] = (None, error)
        value, failure = self._memo[name]
        if failure is not None:
            raise failure
        return value  # type: ignore[no-any-return]  # it is what `make` gave

    # --- folders ---

    def scratch(self, name: str) -> Path:
        """A folder of that name, made where it is not there."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def fresh(self, name: str) -> Path:
        """An empty folder of that name."""
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return self.scratch(name)

    def close(self) -> None:
        """Remove the scratch folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- working with it ---

    def built_beside(self, component: Component[Any, Any], options: Mapping[str, Any]) -> Any:
        """Another component that this one is tried with.

        Raises:
            CannotBuild: its options do not fit, or it needs something that is not here.
        """
        try:
            with seeded(0):
                return component.build(validated(component, options), self.context())
        except UserError as error:
            raise CannotBuild(f"{component.name!r} cannot be built: {' '.join(str(error).split())}") from error

    @contextmanager
    def doing(self, what: str, *, may_refuse: bool = False) -> Iterator[None]:
        """Say of whatever the block raises what was being done.

        Args:
            may_refuse: a `UserError` is an honest answer: the component cannot do this with these options.

        Raises:
            Broken: the block raised. NotApplicable: it refused.
        """
        try:
            yield
        except (Broken, NotApplicable):
            raise
        except UserError as error:
            if not may_refuse:
                raise Broken(f"{what} raises {told(error)}", f"{what} works") from error
            raise NotApplicable(f"{what} is refused: {' '.join(str(error).split())}; give other options") from error
        except Exception as error:
            raise Broken(f"{what} raises {told(error)}", f"{what} works") from error


def validated(component: Component[Any, Any], given: Mapping[str, Any]) -> Options:
    """The options of plain values, read as a spec's table is.

    Raises:
        CannotBuild: they do not fit; says all that is wrong.
    """
    from detkit.spec.complaints import validate

    plain = json.loads(json.dumps(dict(given), default=str))
    found = validate(component.options, plain, PathBase(Path.cwd()))
    if isinstance(found, Options):
        return found
    wrong = "; ".join(f"{'.'.join(map(str, each.path))}: {each.message}" for each in found)
    raise CannotBuild(
        f"these options do not fit: {wrong}; give what it needs (--set KEY=VALUE, or the fixture `options`;"
        f" `detkit plugins show {component.name}` lists the options)"
    )


def kind_of(component: Component[Any, Any]) -> Kind:
    """The kind of a component.

    Raises:
        TypeError: it is none.
    """
    for kind, (_, expected) in OFFERS.items():
        if isinstance(component, expected):
            return kind
    raise TypeError(f"{component!r} is no component: it must be one of detkit's ...Component classes")


def names(values: Sequence[object]) -> str:
    """Values for messages, the first few of many."""
    shown = ", ".join(map(str, values[:5]))
    return f"{shown} and {len(values) - 5} more" if len(values) > 5 else shown
