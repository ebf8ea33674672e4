"""`[search]` in a spec: what is read, what is refused and where, and the spec of a trial."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from detkit import Choices, Range
from detkit.errors import SpecError
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec
from detkit.spec.search import SearchUse
from detkit.spec.trials import pasted, recorded_values, trial_spec

WriteFile = Callable[[str, str], Path]

BASE = """
    [dataset]
    use = "synthetic"
    [train]
    epochs = 4
    [augment]
    preset = "light"
    [models.fcos]
    backbone = "tiny_fpn"
    [models.slow]
    use = "fcos"
    backbone = "tiny_fpn"
    [models.slow.train]
    lr = 0.0005
    [models.off]
    use = "fcos"
    enabled = false
    [metrics.coco]
    [callbacks.early_stop]
"""


def searched(write: WriteFile, search: str, space: str) -> ExperimentSpec:
    lines = "\n".join(f"    {line.strip()}" for line in space.strip().splitlines())
    return load_spec(
        write("a.toml", f'{BASE}\n    [search]\n    use = "random"\n{search}\n    [search.space]\n{lines}\n')
    )


def refused(write: WriteFile, search: str, space: str) -> list[str]:
    """What is wrong with a search, each with its line counted from that of the search's header."""
    with pytest.raises(SpecError) as caught:
        searched(write, search, space)
    header = BASE.count("\n") + 1
    return [
        f"{'' if problem.line is None else problem.line - header}: [{problem.table}] {problem.key}: {problem.message}"
        for problem in caught.value.problems
    ]


def search_of(spec: ExperimentSpec) -> SearchUse:
    assert spec.search is not None
    return spec.search


# --- what is read ----------------------------------------------------------------------------------------------------


def test_keys_are_quoted_dotted_or_tables_and_whole_numbers_are_seen(write: WriteFile) -> None:
    spec = searched(
        write,
        "    trials = 6",
        """
        "models.fcos.train.lr" = { low = 1e-5, high = 1e-2, log = true }
        train.batch_size = [2, 4]
        "train.warmup_steps" = { low = 10, high = 100 }
        train.momentum = { low = 0, high = 0.9 }
        "augment.flip.horizontal" = [0.0, 0.5]
        """,
    )
    search = search_of(spec)
    found = {key: parameter.values for key, parameter in search.parameters.items()}
    assert found == {
        "models.fcos.train.lr": Range(1e-5, 1e-2, log=True),
        "train.batch_size": Choices((2, 4)),
        "train.warmup_steps": Range(10, 100, integer=True),
        "train.momentum": Range(0, 0.9),
        "augment.flip.horizontal": Choices((0.0, 0.5)),
    }
    assert search.models == ("fcos", "slow")
    assert list(search.space("slow").parameters) == [key for key in found if not key.startswith("models.fcos")]
    assert (search.trials("fcos"), search.combinations("fcos")) == (6, None)
    assert spec.resolved["search"]["space"]["train.warmup_steps"] == {"low": 10, "high": 100, "integer": True}
    assert spec.provenance["search.trials"].origin == "spec"
    assert spec.provenance['search.space."train.batch_size"'].line is not None
    assert spec.provenance["search.prune"].origin == "default"


def test_a_models_own_key_wins_over_the_shared_one(write: WriteFile) -> None:
    search = search_of(searched(write, "    trials = 2", '"train.lr" = [0.1]\n"models.slow.train.lr" = [0.01, 0.02]'))
    assert list(search.space("fcos").parameters) == ["train.lr"]
    assert list(search.space("slow").parameters) == ["models.slow.train.lr"]


def test_a_grid_knows_how_many_trials_it_has(write: WriteFile) -> None:
    grid = 'use = "grid"'
    text = f"{BASE}\n    [search]\n    {grid}\n    points = 4\n    [search.space]\n"
    space = '    "train.lr" = { low = 0.001, high = 0.1, log = true }\n    "train.batch_size" = [2, 4, 8]\n'
    search = search_of(load_spec(write("a.toml", text + space)))
    assert (search.trials("fcos"), search.combinations("fcos")) == (12, 12)
    # Of so many that nobody would wait for them, a number must be said.
    many = [
        f'    "train.{key}" = {{ low = 0.1, high = 0.9, points = 100 }}\n' for key in ("lr", "momentum", "weight_decay")
    ]
    with pytest.raises(SpecError, match=r"trials: missing: there are 1,000,000 combinations for 'fcos'; say how many"):
        load_spec(write("b.toml", text + "".join(many)))
    limited = search_of(load_spec(write("b.toml", text.replace(grid, f"{grid}\n    trials = 5") + space)))
    assert (limited.trials("fcos"), limited.combinations("fcos")) == (5, 12)


def test_a_search_that_is_disabled_is_checked_and_left_out(write: WriteFile) -> None:
    spec = searched(write, "    trials = 2\n    enabled = false", '"train.lr" = [0.1]')
    assert spec.search is None
    assert "search" not in spec.resolved
    assert refused(write, "    trials = 2\n    enabled = false", '"train.lr" = []') == [
        '5: [search.space] "train.lr": there is nothing to choose from'
    ]


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "complaint"),
    [
        ("", "[search] trials: missing: 'random' has no end of its own; say how many trials"),
        ("trials = 0", "2: [search] trials: must be at least 1"),
        ("trials = 2\n    trails = 3", "3: [search] trails: unknown key; did you mean 'trials'?"),
        ("trials = 2\n    prune = 'med'", "prune: must be one of 'off', 'median', not the text \"med\"; did you mean"),
        (
            "trials = 2\n    objective = 'coko/ap'",
            "3: [search] objective: no metric 'coko' is enabled; did you mean 'co",
        ),
        ("trials = 2\n    objective = 'lat'", "did you mean 'latency_ms_median' or 'latency_ms_p95'?"),
        ("trials = 2\n    objective = 'latency_ms'", "no cost is named 'latency_ms', and a metric's quantity is"),
        ("trials = 2\n    objective = ['a/b', 'coco/ap', 'c/d']", "one or two quantities, not 3"),
        ("trials = 2\n    objective = ['coco/ap', 'coco/ap']", "the two objectives must differ"),
        (
            "trials = 2\n    objective = ['coco/ap', 'flops']\n    prune = 'median'",
            'prune = "median" goes with one objective',
        ),
        (
            "trials = 2\n    objective = 'flops'\n    prune = 'median'",
            "needs an objective that every epoch has, not a c",
        ),
        ("trials = 2\n    models = ['fcoz']", "3: [search] models[0]: there is no model 'fcoz'; did you mean 'fcos'?"),
        ("trials = 2\n    models = ['off']", "models[0]: [models.off] is not enabled"),
    ],
)
def test_what_is_wrong_with_the_table(search: str, complaint: str, write: WriteFile) -> None:
    found = refused(write, f"    {search}", '"train.lr" = [0.1, 0.2]')
    assert any(complaint in line for line in found), found


@pytest.mark.parametrize(
    ("space", "complaint"),
    [
        ('"train.lrr" = [0.1]', "4: [search.space] \"train.lrr\"[0]: unknown key; did you mean 'lr'?"),
        (
            '"train.lrr" = { low = 0.1, high = 1 }',
            "4: [search.space] \"train.lrr\": unknown key; did you mean 'lr'?",
        ),
        ('"train.lrr" = [0.1, 0.2]', "4: [search.space] \"train.lrr\": unknown key; did you mean 'lr'?"),
        ('"trian.lr" = [0.1]', "there is no table [trian]; did you mean 'train'?"),
        ('"models.fcoz.train.lr" = [0.1]', "there is no model 'fcoz'; did you mean 'fcos'?"),
        ('"augment.flop.p" = [0.1]', "the spec has no [augment.flop]; did you mean 'flip'?"),
        ('"callbacks.early.patience" = [1]', "the spec has no [callbacks.early]; did you mean 'early_stop'?"),
        ('"augment.preset" = ["light"]', "augment.preset is a table; name a key in it"),
        ('"dataset.images" = [10]', "[dataset] cannot be searched: all runs of an experiment see the same images"),
        ('"metrics.coco.engine" = ["hotcoco"]', "[metrics] cannot be searched"),
        ('"compute.threads" = [1]', "[compute] cannot be searched"),
        ('"models.fcos.use" = ["fcos"]', "use says what there is, and cannot be searched"),
        ('"models.fcos.enabled" = [true]', "enabled says what there is, and cannot be searched"),
        ('"models.fcos" = [1]', "models.fcos is a table; name a key in it"),
        ('"train.lr" = 0.1', "must be a list of values, or a range as { low = 0.1, high = 1 }, not 0.1"),
        ('"train.lr" = { lo = 1, high = 2 }', "[search.space.\"train.lr\"] lo: unknown key; did you mean 'low'?"),
        ('"train.lr" = { lo = 1, hi = 2 }', "[search.space.\"train.lr\"] lo: unknown key; did you mean 'low'?"),
        (
            '"train.lr" = { min = 1, max = 2 }',
            '4: [search.space] "train.lr": the ends of a range are called low and hi',
        ),
        (
            '"train.batch_size" = { low = 1, high = 1_000_000_000, step = 1 }',
            "more than 100,000 values: leave the step",
        ),
        (
            '"train.lr" = { low = 1, high = 2, points = 1_000_000_000 }',
            "a grid takes at most 100,000 points of a range",
        ),
        ('"train.lr" = { low = 2, high = 1 }', "a range goes from a number to a higher one, not from 2 to 1"),
        ('"train.lr" = { low = 0, high = 1, log = true }', "a range on a logarithmic scale begins above 0, not at 0"),
        ('"train.lr" = [0.1, 0.1]', "0.1 stands twice among the choices"),
        ('"train.milestones" = [[0.5]]', "must be text, a number, true or false, not an array"),
        ('"train.lr" = { low = -1, high = 1 }', '4: [search.space."train.lr"] low: must be above 0'),
        ('"train.momentum" = { low = 0.5, high = 1.5 }', "high: must be below 1"),
        ('"train.epochs" = { low = 1.5, high = 3 }', "low: must be a whole number, not 1.5"),
        (
            '"train.epochs" = { low = 1, high = 3, integer = false }',
            "2.5 lies in the range, and must be a whole number",
        ),
        ('"train.schedule" = ["cosine", "cosin"]', "not the text \"cosin\"; did you mean 'cosine'?"),
        ('"train.lr" = [0.1]\ntrain.lr = [0.2]', "is there twice"),
        ('"models.off.train.lr" = [0.1]', "concerns none of the models that are searched"),
    ],
)
def test_what_is_wrong_with_the_space(space: str, complaint: str, write: WriteFile) -> None:
    found = refused(write, "    trials = 2", space)
    assert any(complaint in line for line in found), found


def test_every_problem_of_the_space_is_told_with_its_line(write: WriteFile) -> None:
    space = """
    "train.batch_size" = [2,
       0,
       "x"]
    "train.lr" = { low = 0.1,
       high = 2 }
    "train.momentum" = [0.5, 1.0]
    """
    lines = [line.split(":")[0] for line in refused(write, "    trials = 2", space)]
    assert lines == ["5", "6", "9"]


def test_a_search_needs_a_searcher_and_says_which_key_names_it(write: WriteFile) -> None:
    text = f'{BASE}\n    [search]\n    algorithm = "grid"\n    [search.space]\n    "train.lr" = [0.1]\n'
    with pytest.raises(SpecError, match=r"\[search\] use: missing: the name of a searcher; there are: .*grid.*`use`"):
        load_spec(write("a.toml", text))


# --- the spec of a trial ---------------------------------------------------------------------------------------------


def values_of(spec: ExperimentSpec, model: str, values: dict[str, Any]) -> dict[str, Any]:
    return dict(trial_spec(spec, model, values).resolved["models"][model])


def test_the_space_wins_over_what_tables_say_and_touches_one_model(write: WriteFile) -> None:
    spec = searched(
        write, "    trials = 2", '"train.lr" = [0.1, 0.2]\n"augment.flip.horizontal" = [0.25]\n"train.epochs" = [1]'
    )
    trial = trial_spec(spec, "slow", {"train.lr": 0.2, "augment.flip.horizontal": 0.25, "train.epochs": 1})
    assert trial.search is None
    slow, fcos = trial.resolved["models"]["slow"], trial.resolved["models"]["fcos"]
    assert (slow["train"]["lr"], slow["train"]["epochs"], slow["augment"]["flip"]["horizontal"]) == (0.2, 1, 0.25)
    assert fcos == spec.resolved["models"]["fcos"]


def test_values_that_do_not_go_together_are_told_with_the_trial(write: WriteFile) -> None:
    space = '"train.schedule" = ["cosine", "onecycle"]\n"train.warmup_epochs" = [0.5]'
    spec = searched(write, "    trials = 2", space)
    trial_spec(spec, "fcos", {"train.schedule": "cosine", "train.warmup_epochs": 0.5})
    with pytest.raises(SpecError, match="warmup_epochs does not go with schedule"):
        trial_spec(spec, "fcos", {"train.schedule": "onecycle", "train.warmup_epochs": 0.5})


RECIPES = """
from typing import Literal
from pydantic import Field
from detkit import ModelComponent, Options, hookimpl

class Sized(Options):
    size: Literal["small", "large"] = Field("small", description="which one")

RATES = {"small": 0.1, "large": 0.2}
SIZED = ModelComponent("sized", Sized, lambda o, c: None, recipe=lambda o: {"lr": RATES[o.size]})

@hookimpl
def detkit_models():
    return [SIZED]
"""


FILES = """
from pydantic import Field
from detkit import ModelComponent, OptionPath, Options, hookimpl

class Filed(Options):
    file: OptionPath | None = Field(None, description="a file")

FILED = ModelComponent("filed", Filed, lambda o, c: None)

@hookimpl
def detkit_models():
    return [FILED]
"""


def test_a_recipe_is_asked_anew_for_each_trial_also_from_the_records_copy(write: WriteFile, tmp_path: Path) -> None:
    write("sized.py", RECIPES)
    spec = load_spec(
        write(
            "a.toml",
            f"""
            plugins = ["sized.py"]
            {BASE.replace("[models.fcos]", "[models.sized]").replace('backbone = "tiny_fpn"', "", 1)}
            [search]
            use = "random"
            trials = 2
            models = ["sized"]
            [search.space]
            "models.sized.size" = ["small", "large"]
            """,
        )
    )
    assert spec.resolved["models"]["sized"]["train"]["lr"] == 0.1
    copy = tmp_path / "record" / "spec.toml"
    copy.parent.mkdir()
    copy.write_bytes(tomli_w.dumps(recorded_values(spec)).encode())
    for read in (spec, load_spec(copy)):
        rates = [values_of(read, "sized", {"models.sized.size": size})["train"]["lr"] for size in ("small", "large")]
        assert rates == [0.1, 0.2]


def test_the_records_copy_searches_the_same(write: WriteFile, tmp_path: Path) -> None:
    space = '"train.epochs" = { low = 1, high = 4 }\ntrain.lr = { low = 0.01, high = 0.1, log = true }'
    spec = searched(write, "    trials = 2\n    objective = ['coco/ap', 'flops']", space)
    copy = tmp_path / "record" / "spec.toml"
    copy.parent.mkdir()
    copy.write_bytes(tomli_w.dumps(recorded_values(spec)).encode())
    again = search_of(load_spec(copy))
    before = search_of(spec)
    assert again.plain() == before.plain()
    assert [again.space(model) for model in again.models] == [before.space(model) for model in before.models]


def test_relative_paths_in_lists_are_those_of_the_spec(write: WriteFile, tmp_path: Path) -> None:
    write("files.py", FILES)
    base = BASE.replace("[models.fcos]", "[models.filed]").replace('backbone = "tiny_fpn"', "", 1)
    search = '[search]\n    use = "grid"\n    [search.space]\n    "models.filed.file" = ["a.pth", "b.pth"]'
    spec = load_spec(write("a.toml", f'plugins = ["files.py"]\n{base}\n    {search}\n'))
    (choices,) = search_of(spec).parameters.values()
    assert choices.values == Choices((str(tmp_path / "a.pth"), str(tmp_path / "b.pth")))
    # Of a file that this one extends, and of the command line, in their folders.
    (tmp_path / "below").mkdir()
    extending = write("below/c.toml", 'extends = "../a.toml"')
    (choices,) = search_of(load_spec(extending)).parameters.values()
    assert choices.values == Choices((str(tmp_path / "a.pth"), str(tmp_path / "b.pth")))
    typed = {'search.space."models.filed.file"': ["c.pth"]}
    elsewhere = load_spec(tmp_path / "a.toml", set=typed, working_folder=tmp_path / "below")
    (choices,) = search_of(elsewhere).parameters.values()
    assert choices.values == Choices((str(tmp_path / "below" / "c.pth"),))


def test_what_is_pasted_gives_the_trial_again(write: WriteFile, tmp_path: Path) -> None:
    space = '"train.lr" = [0.1, 0.2]\n"augment.flip.horizontal" = [0.25]\n"callbacks.early_stop.patience" = [2, 9]'
    spec = searched(write, "    trials = 2", space)
    values: dict[str, Any] = {"train.lr": 0.2, "augment.flip.horizontal": 0.25, "callbacks.early_stop.patience": 9}
    trial = trial_spec(spec, "slow", values)
    file = tmp_path / "trial.toml"
    file.write_bytes(tomli_w.dumps(trial.resolved).encode())
    snippet = pasted(file, "slow", values)
    write("snippet.toml", f'extends = "base.toml"\n{snippet}')
    write("base.toml", BASE)
    again = load_spec(tmp_path / "snippet.toml")
    assert again.resolved["models"]["slow"] == trial.resolved["models"]["slow"]
    assert again.resolved["callbacks"] == trial.resolved["callbacks"]
