"""`load_spec`: what a spec gives, and every message about what is wrong with one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from detkit.errors import PluginError, SpecError
from detkit.spec.loader import load_spec
from detkit.spec.model import ExperimentSpec

WriteFile = Callable[[str, str], Path]

GOOD = """
    plugins = ["toys.py"]
    [dataset]
    use = "penn_fudan"
    [models.fcos]
"""


def problems(file: Path, **options: Any) -> list[str]:
    """The messages, with the file's name in the place of its path."""
    with pytest.raises(SpecError) as caught:
        load_spec(file, **options)
    return [str(problem).replace(f"{file.parent}/", "") for problem in caught.value.problems]


@pytest.fixture
def good(toys: Path, write: WriteFile) -> ExperimentSpec:
    return load_spec(write("my first.toml", GOOD))


def test_defaults_of_the_smallest_spec(good: ExperimentSpec, tmp_path: Path) -> None:
    assert good.experiment.name == "my-first"
    assert good.experiment.output == tmp_path / "runs"
    assert good.path == tmp_path / "my first.toml"
    assert good.folder == tmp_path
    assert good.plugin_files == (tmp_path / "toys.py",)
    assert good.dataset.key == "penn_fudan"
    assert good.dataset.options.model_dump() == {"root": tmp_path / "data"}
    assert good.degenerate == "error"
    assert good.split.validation is None
    assert good.compute.device == "auto"
    assert good.training_step.key == "standard"
    assert list(good.models) == ["fcos"]
    assert good.metrics == good.loggers == good.callbacks == {}


def test_everything_stated(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    spec = load_spec(
        write(
            "full.toml",
            """
            plugins = ["toys.py"]
            [experiment]
            name = "full"
            seeds = [1, 2]
            output = "out"
            [dataset]
            use = "shapes"
            images = 4
            masks = true
            degenerate = "clip"
            split = { validation = 0.25, test = 1 }
            [input]
            min_size = 320
            max_size = 640
            [train]
            lr = 1
            milestones = [0.5]
            [models.big]
            use = "fcos"
            enabled = false
            file = "w.pth"
            anchors.sizes = [1, 2, 3]
            [models.big.input]
            max_size = 1000
            [models.mask_rcnn]
            [metrics.coco]
            [loggers.here]
            use = "console"
            [callbacks.early_stop]
            patience = 9
            """,
        )
    )
    assert spec.experiment.seeds == (1, 2)
    assert spec.experiment.output == tmp_path / "out"
    assert (spec.split.validation, spec.split.test, spec.degenerate) == (0.25, 1, "clip")
    big = spec.models["big"]
    assert big.enabled is False
    assert big.offered.component.name == "fcos"
    assert big.options.model_dump()["file"] == tmp_path / "w.pth"
    assert big.options.model_dump()["anchors"]["sizes"] == (1, 2, 3)
    assert (big.input.min_size, big.input.max_size) == (320, 1000)
    assert spec.models["mask_rcnn"].input.max_size == 640
    assert spec.models["mask_rcnn"].train.milestones == (0.5,)
    assert spec.loggers["here"].offered.component.name == "console"
    assert spec.callbacks["early_stop"].options.model_dump() == {"patience": 9}


def test_the_message_of_the_design(toys: Path, write: WriteFile) -> None:
    file = write(
        "bad.toml",
        """
        plugins = ["toys.py"]

        [experiment]
        name = "penn-fudan"

        # the data


        [dataset]
        use = "pen_fudan"
        [models.fcos]
        """,
    )
    assert problems(file) == ["bad.toml:10: [dataset] use: no dataset named 'pen_fudan'; did you mean 'penn_fudan'?"]


def test_the_file_is_named_as_it_was_typed(toys: Path, write: WriteFile) -> None:
    write("bad.toml", GOOD + "epochs = 3\n")
    with pytest.raises(SpecError, match=r"^bad\.toml:5: \[models\.fcos\] epochs: unknown key; there are: anchors, "):
        load_spec("bad.toml")


def test_all_problems_at_once_in_the_order_of_the_file(toys: Path, write: WriteFile) -> None:
    file = write(
        "bad.toml",
        """
        plugins = ["toys.py"]
        [trian]
        epochs = 3
        [experiment]
        nmae = "x"
        seeds = []
        [loggers.comet]
        enabled = "no"
        project = 3
        [dataset]
        use = "shapes"
        images = "4"
        degenerate = "dorp"
        [dataset.split]
        validation = 1.5
        test = "half"
        [compute]
        device = "gpu"
        devices = true
        precision = "bf17"
        [train]
        epochs = 2.5
        lr = -1
        optimizer = "sdg"
        [models.fcos]
        backbone = "resnet"
        score = "high"
        anchors = { size = [1], ratio = 0, sizes = [1, "2"] }
        [models."a b"]
        [models.fcoss]
        train = 3
        """,
    )
    assert problems(file) == [
        "bad.toml:2: [trian]: there is no table [trian]; did you mean 'train'?",
        "bad.toml:5: [experiment] nmae: unknown key; did you mean 'name'?",
        "bad.toml:6: [experiment] seeds: must hold at least 1 value(s)",
        'bad.toml:8: [loggers.comet] enabled: must be true or false, not the text "no"',
        "bad.toml:9: [loggers.comet] project: must be text, not 3",
        'bad.toml:12: [dataset] images: must be a whole number, not the text "4"',
        "bad.toml:13: [dataset] degenerate: must be one of 'error', 'drop', 'clip', not the text \"dorp\";"
        " did you mean 'drop'?",
        "bad.toml:15: [dataset.split] validation: must be below 1",
        "bad.toml:16: [dataset.split] test: a file of image names has an ending, as val.txt, and 'half' has none",
        "bad.toml:18: [compute] device: must be one of 'auto', 'cpu', 'cuda', 'mps', not the text \"gpu\";"
        " did you mean 'cpu'?",
        "bad.toml:19: [compute] devices: must be a whole number, not true",
        "bad.toml:20: [compute] precision: must be one of 'auto', 'fp32', 'bf16', 'fp16', not the text \"bf17\";"
        " did you mean 'bf16'?",
        "bad.toml:22: [train] epochs: must be a whole number, not 2.5",
        "bad.toml:23: [train] lr: must be above 0",
        "bad.toml:24: [train] optimizer: must be one of 'sgd', 'adamw', not the text \"sdg\"; did you mean 'sgd'?",
        "bad.toml:26: [models.fcos] backbone: must be one of 'resnet50_fpn', 'mobilenet_v2', not the text \"resnet\";"
        " did you mean 'resnet50_fpn'?",
        'bad.toml:27: [models.fcos] score: must be a number, not the text "high"',
        'bad.toml:28: [models.fcos.anchors] sizes[1]: must be a whole number, not the text "2"',
        "bad.toml:28: [models.fcos.anchors] ratio: must be above 0",
        "bad.toml:28: [models.fcos.anchors] size: unknown key; did you mean 'sizes'?",
        'bad.toml:29: [models."a b"]: names of models are made of letters, digits, - and _, and begin with a letter or'
        " digit",
        "bad.toml:30: [models.fcoss]: no model named 'fcoss'; did you mean 'fcos'? (a table without `use` means what"
        " its name says)",
        "bad.toml:31: [models.fcoss] train: must be a table, as [models.fcoss.train], not 3",
    ]


def test_missing_tables_and_keys(toys: Path, write: WriteFile) -> None:
    assert problems(write("a.toml", 'plugins = ["toys.py"]')) == [
        "a.toml: [dataset] use: missing: the name of a dataset; there are: penn_fudan, shapes",
        "a.toml: [models]: missing; name at least one model, as [models.NAME]; there are: bad_recipe, fcos, mask_rcnn,"
        " raising_recipe, retinanet",
    ]
    file = write("b.toml", 'plugins = ["toys.py"]\n[models.fcos]\n[dataset]\nuse = "shapes"')
    assert problems(file) == ["b.toml:3: [dataset] images: missing, and has no default: how many"]


def test_tables_that_are_none(toys: Path, write: WriteFile) -> None:
    file = write(
        "a.toml",
        """
        plugins = "toys.py"
        name = "x"
        train = 3
        compute = [1]
        models = { fcos = true }
        dataset = { use = 1, split = 3 }
        """,
    )
    assert problems(file) == [
        'a.toml:1: plugins: must be an array of paths of Python files, as ["my_detector.py"]',
        "a.toml:2: name: unknown key; there are: augment, callbacks, compute, dataset, experiment, input, loggers,"
        " metrics, models, search, train, training_step",
        "a.toml:3: train: must be a table, as [train], not 3",
        "a.toml:4: compute: must be a table, as [compute], not an array",
        "a.toml:5: [models] fcos: must be a table, as [models.fcos], not true",
        "a.toml:6: [dataset] use: must be text, not 1",
        "a.toml:6: [dataset] split: must be a table, as [dataset.split], not 3",
        "a.toml: [training_step] use: no training step named 'standard'",
    ]


def test_a_table_with_problems_does_not_hide_those_of_others(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD + "\n[models.nothing]\nuse = 'x'\n[callbacks.early_stop]\npatience = 0\n")
    assert problems(file) == [
        "a.toml:7: [models.nothing] use: no model named 'x'; there are: bad_recipe, fcos, mask_rcnn, raising_recipe,"
        " retinanet",
        "a.toml:9: [callbacks.early_stop] patience: must be at least 1",
    ]


def test_disabled_components_are_validated(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD + "\n[loggers.comet]\nenabled = false\nprojct = 'x'\n")
    assert problems(file) == ["a.toml:8: [loggers.comet] projct: unknown key; did you mean 'project'?"]


def test_no_model_enabled(toys: Path, write: WriteFile) -> None:
    assert problems(write("a.toml", GOOD + "enabled = false")) == [
        "a.toml:4: [models]: none is enabled; there is nothing to train"
    ]


def test_host_keys_of_other_kinds_are_unknown(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD.replace('"penn_fudan"', '"penn_fudan"\nenabled = false\ntrain.lr = 1'))
    assert [line.split(";")[0] for line in problems(file)] == [
        "a.toml:4: [dataset] enabled: unknown key",
        "a.toml:5: [dataset] train: unknown key",
    ]


# --- secrets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["api_key", "API_KEY", "comet_api_key", "apikey", "token", "hf-token", "password", "Secret"]
)
def test_secrets_are_refused_by_name_and_never_shown(toys: Path, write: WriteFile, key: str) -> None:
    file = write(
        "a.toml", GOOD + f"\n[loggers.comet]\n{key} = 'hunter2'\n[callbacks.x.y]\na = [{{ {key} = 'hunter2' }}]"
    )
    found = problems(file)
    assert found[0] == (
        f"a.toml:7: [loggers.comet] {key}: keys never go in a spec; set the environment variable that the service reads"
        " instead, such as COMET_API_KEY, and take this line out"
    )
    assert found[2].startswith(f"a.toml:9: [callbacks.x.y.a[0]] {key}: keys never go in a spec")
    assert "hunter2" not in "".join(found)


def test_secrets_on_the_command_line(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD)
    found = problems(file, set={"loggers.comet.api_key": "hunter2"})
    assert found[0].startswith("command line: [loggers.comet] api_key: keys never go in a spec")
    assert "hunter2" not in "".join(found)


def test_words_that_only_resemble_secrets_are_fine(toys: Path, write: WriteFile) -> None:
    found = problems(write("a.toml", GOOD + "tokens = 1\nkey = 2\nsecrets_file = 3"))
    assert not any("keys never go" in line for line in found)


# --- plugins ---------------------------------------------------------------------------------------------------------


def test_plugin_files_that_are_missing_named_twice_or_broken(toys: Path, write: WriteFile) -> None:
    write("broken.py", "import nothing_of_that_name")
    file = write("a.toml", GOOD.replace('["toys.py"]', '[\n"toys.py",\n"toy.py",\n"./toys.py",\n"broken.py"]'))
    folder = file.parent
    assert problems(file) == [
        f"a.toml:1: plugins: plugin 'broken' ({folder}/broken.py) failed: ModuleNotFoundError: No module named"
        " 'nothing_of_that_name'".replace(f"{folder}/", ""),
        "a.toml:3: plugins[1]: there is no file toy.py",
        "a.toml:4: plugins[2]: toys.py is named twice",
    ]


def test_a_blocked_plugin_is_named_where_its_component_is_missing(toys: Path, write: WriteFile) -> None:
    found = problems(write("a.toml", GOOD), blocked=["toys"])
    assert (
        found[0]
        == "a.toml:3: [dataset] use: no dataset named 'penn_fudan'; plugin 'toys' (toys.py) blocked: by --no-plugin"
    )


def test_blocking_an_unknown_plugin(toys: Path, write: WriteFile) -> None:
    with pytest.raises(PluginError, match=r"--no-plugin tois: there is no such plugin; did you mean 'toys'\?"):
        load_spec(write("a.toml", GOOD), blocked=["tois"])


def test_what_a_plugin_raises_names_it(toys: Path, write: WriteFile) -> None:
    write(
        "raising.py",
        """
        from pydantic import Field, field_validator
        from detkit import MetricComponent, Options, hookimpl

        class BadOptions(Options):
            x: int = Field(1, description="x")

            @field_validator("x")
            @classmethod
            def check(cls, value):
                raise KeyError("oh")

        class NoWords(Options):
            x: int = Field(1, description="x")

            @field_validator("x")
            @classmethod
            def check(cls, value):
                raise ValueError("x is not to my liking")

        @hookimpl
        def detkit_metrics():
            return [
                MetricComponent("bad_options", BadOptions, print),
                MetricComponent("picky", NoWords, print),
                MetricComponent("bad_needs", Options, print, needs=lambda o: {}["boxes"]),
            ]
        """,
    )
    file = write(
        "a.toml",
        GOOD.replace('["toys.py"]', '["toys.py", "raising.py"]')
        + "[metrics.bad_options]\nx = 1\n[metrics.bad_needs]\n[metrics.picky]\nx = 1\n[models.raising_recipe]",
    )
    assert problems(file) == [
        "a.toml:5: [metrics.bad_options]: the options of 'bad_options' of plugin 'raising' (raising.py) failed:"
        " KeyError: 'oh'",
        "a.toml:7: [metrics.bad_needs]: `needs` of 'bad_needs' of plugin 'raising' (raising.py) failed:"
        " KeyError: 'boxes'",
        "a.toml:9: [metrics.picky] x: x is not to my liking",
        "a.toml:10: [models.raising_recipe]: the recipe of 'raising_recipe' of plugin 'toys' (toys.py) failed:"
        " ZeroDivisionError: division by zero",
    ]


# --- capabilities ----------------------------------------------------------------------------------------------------


def test_needs_that_the_dataset_does_not_meet(toys: Path, write: WriteFile) -> None:
    text = """
        plugins = ["toys.py"]
        [dataset]
        use = "shapes"
        images = 3
        [models.mask_rcnn]
        [models.retinanet]
        [models.unused]
        use = "mask_rcnn"
        enabled = false
        [metrics.mask_ap]
    """
    file = write("a.toml", text)
    assert problems(file) == [
        "a.toml:5: [models.mask_rcnn]: model 'mask_rcnn' (plugin 'toys' (toys.py)) needs masks, which dataset 'shapes'"
        " (plugin 'toys' (toys.py)) does not provide (it provides boxes)",
        "a.toml:10: [metrics.mask_ap]: metric 'mask_ap' (plugin 'toys' (toys.py)) needs masks, which dataset 'shapes'"
        " (plugin 'toys' (toys.py)) does not provide (it provides boxes)",
    ]
    assert load_spec(file, set={"dataset.masks": True}).models["unused"].enabled is False


# --- the recipe of a model -------------------------------------------------------------------------------------------


def test_the_order_of_train(toys: Path, write: WriteFile) -> None:
    write(
        "base.toml",
        """
        [train]
        batch_size = 3
        momentum = 0.3
        [models.fcos.train]
        weight_decay = 0.3
        gamma = 0.3
        """,
    )
    file = write(
        "a.toml",
        """
        extends = "base.toml"
        plugins = ["toys.py"]
        [dataset]
        use = "penn_fudan"
        [train]
        epochs = 40
        momentum = 0.4
        weight_decay = 0.4
        [models.fcos.train]
        gamma = 0.5
        [models.retinanet]
        """,
    )
    train = load_spec(file).models["fcos"].train
    assert train.warmup_steps == 100  # detkit's default
    assert (train.lr, train.clip_norm) == (0.001, None)  # the recipe's
    assert train.batch_size == 3  # [train] of the base file
    assert (train.epochs, train.momentum) == (40, 0.4)  # [train] of the spec, over the recipe and the base file
    assert train.weight_decay == 0.3  # the model's own table in the base file, over [train] of the spec
    assert train.gamma == 0.5  # the model's own table in the spec
    assert load_spec(file).models["retinanet"].train.lr == 0.005
    over = load_spec(file, set={"train.gamma": 0.6, "train.lr": 0.5, "models.fcos.train.lr": 0.7})
    assert (over.models["fcos"].train.gamma, over.models["fcos"].train.lr) == (0.6, 0.7)
    assert over.models["retinanet"].train.lr == 0.5


def test_a_wrong_recipe_names_the_plugin(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD + "[models.bad_recipe]\n")
    title = "the recipe of 'bad_recipe' of plugin 'toys' (toys.py) sets"
    assert problems(file) == [
        f"a.toml:5: [models.bad_recipe]: {title} lr = 'fast': must be a number, not the text \"fast\"; tell its author,"
        " and set lr in [models.bad_recipe.train] to go on",
        f"a.toml:5: [models.bad_recipe]: {title} epohcs = 3: unknown key; did you mean 'epochs'?; tell its author, and"
        " set epohcs in [models.bad_recipe.train] to go on",
    ]


def test_keys_that_do_not_go_together(toys: Path, write: WriteFile) -> None:
    shared = write("a.toml", GOOD + "[models.retinanet]\n[input]\nmin_size = 900\nmax_size = 800\n")
    assert problems(shared) == ["a.toml:6: [input]: min_size 900 is above max_size 800"]
    own = write("b.toml", GOOD + "[models.fcos.input]\nmin_size = 1400\n[models.retinanet]\n")
    assert problems(own) == ["b.toml:5: [models.fcos.input]: min_size 1400 is above max_size 1333"]
    seeds = write("c.toml", GOOD + "[experiment]\nseeds = [1, 1]\n")
    assert problems(seeds) == ["c.toml:5: [experiment]: seeds must differ from each other"]
    few = write("d.toml", GOOD + "[experiment]\nresamples = 99\n")
    assert problems(few) == ["d.toml:5: [experiment]: resamples is 0, for no intervals, or at least 100"]
    for enough in (0, 100):
        load_spec(write("e.toml", GOOD + f"[experiment]\nresamples = {enough}\n"))


def test_a_shared_key_that_is_wrong_is_told_once(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD + "[models.retinanet]\n[models.retinanet.train]\nepochs = 1\n[train]\nepochs = 'x'\n")
    assert problems(file) == ['a.toml:9: [train] epochs: must be a whole number, not the text "x"']


# --- values ----------------------------------------------------------------------------------------------------------


def test_infinite_numbers_and_dates(toys: Path, write: WriteFile) -> None:
    spec = load_spec(write("a.toml", GOOD + "[train]\nclip_norm = inf\n[loggers.comet]\nproject = 2024-05-06\n"))
    assert spec.models["fcos"].train.clip_norm == float("inf")
    assert spec.loggers["comet"].options.model_dump()["project"] == "2024-05-06"


# --- loggers on and off ----------------------------------------------------------------------------------------------


def test_loggers_on_and_off(toys: Path, write: WriteFile) -> None:
    file = write("a.toml", GOOD + "[loggers.console]\n[loggers.comet]\nenabled = false\n")
    spec = load_spec(file, enable_loggers=["comet"], disable_loggers=["console"])
    assert {key: use.enabled for key, use in spec.loggers.items()} == {"console": False, "comet": True}
    assert problems(file, enable_loggers=["comt"], disable_loggers=["x"]) == [
        "command line: --enable-logger comt: the spec has no logger 'comt'; did you mean 'comet'?",
        "command line: --disable-logger x: the spec has no logger 'x'; there are: comet, console",
    ]
    assert problems(file, enable_loggers=["comet"], disable_loggers=["comet"]) == [
        "command line: --disable-logger comet: it is to be enabled too; say only one"
    ]
    assert problems(write("b.toml", GOOD), enable_loggers=["comet"]) == [
        "command line: --enable-logger comet: the spec has no logger 'comet'; it has none"
    ]


@pytest.mark.parametrize(
    ("split", "said"),
    [
        ("folds = 1", "folds: "),
        ("folds = 3\nvalidation = 10", "folds takes the place of validation"),
        ('group = "(clip"', "group: no regular expression: missing )"),
        ('group = ".*"', "group: matches the empty text"),
        ("stratify = 1", "stratify: "),
        ("fold = 3", "fold: "),
        ('train = "train.txt"', "train is a file of names, so validation must be one, too"),
        ('validation = "val.txt"\ntest = 5', "validation is a file of names, so test must be one, too"),
        ('validation = "val.txt"\ngroup = "(a)"', "so group has nothing to divide"),
    ],
)
def test_what_is_wrong_with_splits_is_told(toys: Path, write: WriteFile, split: str, said: str) -> None:
    text = 'plugins = ["toys.py"]\n[dataset]\nuse = "penn_fudan"\n[dataset.split]\n' + split + "\n[models.fcos]\n"
    with pytest.raises(SpecError) as refused:
        load_spec(write("bad.toml", text))
    (problem,) = [str(problem) for problem in refused.value.problems]
    assert "[dataset.split]" in problem
    assert said in problem


def test_lists_of_names_are_paths_beside_the_spec(toys: Path, write: WriteFile, tmp_path: Path) -> None:
    split = '[dataset.split]\ntrain = "lists/train.txt"\nvalidation = "val.txt"\n'
    spec = load_spec(
        write("good.toml", 'plugins = ["toys.py"]\n[dataset]\nuse = "penn_fudan"\n' + split + "[models.fcos]\n")
    )
    assert (spec.split.train, spec.split.validation) == (tmp_path / "lists" / "train.txt", tmp_path / "val.txt")


def test_folds_are_read(toys: Path, write: WriteFile) -> None:
    split = '[dataset.split]\nfolds = 5\ngroup = "^(v[0-9]+)_"\n'
    text = 'plugins = ["toys.py"]\n[dataset]\nuse = "penn_fudan"\n' + split + "[models.fcos]\n"
    spec = load_spec(write("good.toml", text))
    assert (spec.split.folds, spec.split.stratify, spec.split.group) == (5, None, "^(v[0-9]+)_")
    # What is not stated is not written down: a record of an older detkit has the same values.
    assert spec.resolved["dataset"]["split"] == {"folds": 5, "group": "^(v[0-9]+)_", "seed": 0}


def test_a_logger_that_can_be_there_only_once(toys: Path, write: WriteFile) -> None:
    two = GOOD + "[loggers.comet]\n[loggers.second]\nuse = 'comet'\n"
    assert problems(write("a.toml", two)) == [
        "a.toml:6: [loggers.second]: 'comet' can be there only once, and [loggers.comet] has it; disable one"
    ]
    load_spec(write("b.toml", two + "enabled = false\n"))
