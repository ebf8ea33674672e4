"""A bundled detector with masks, as `detkit.load_detector` makes it: boxes, names and masks of the same objects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from detkit.components import BuildContext
from detkit.predict.detector import Detector
from detkit.predict.thresholds import Thresholds
from detkit.predict.trained import TrainedModel
from detkit.spec.loader import load_spec

CLASSES = ("car", "dog")
SPEC = """
[experiment]
name = "masks"
[dataset]
use = "synthetic"
[models.mask_rcnn]
backbone = "tiny_fpn"
"""


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Detector:
    """Untrained: its scores are near a third, for two classes and the background."""
    spec = tmp_path_factory.mktemp("masks") / "spec.toml"
    spec.write_text(SPEC)
    use = load_spec(spec).models["mask_rcnn"]
    model = use.offered.component.build(use.options, BuildContext(CLASSES, Path(), min_size=64, max_size=96, seed=1))
    trained = TrainedModel(
        module=model.eval(),
        use=use,
        run_id="mask_rcnn-seed1",
        seed=1,
        checkpoint="best",
        epoch=1,
        class_names=CLASSES,
        device="cpu",
        precision="fp32",
        chosen={},
    )
    return Detector(trained, Thresholds(dict.fromkeys(CLASSES, 0.0), "given"))


def test_masks_are_those_of_the_model(detector: Detector) -> None:
    image = torch.rand(3, 48, 80, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        (output,) = detector.model([image])
    found = detector(image)
    assert detector.gives_masks
    assert len(found) == len(output["scores"]) > 10
    assert found.names == tuple(CLASSES[label - 1] for label in output["labels"])
    assert found.masks is not None
    assert found.masks.shape == (len(found), 48, 80)
    assert np.array_equal(found.masks, (output["masks"][:, 0] > 0.5).numpy())


def test_each_class_has_a_threshold_of_its_own(detector: Detector) -> None:
    image = torch.rand(3, 48, 80, generator=torch.Generator().manual_seed(0))
    everything = detector(image)
    dogs = everything.labels == 2
    middle = float(np.median(everything.scores[dogs]))
    strict = Detector(detector._trained, Thresholds({"car": 1.0, "dog": middle}, "chosen by coco"))(image)
    kept = dogs & (everything.scores >= np.float32(middle))
    assert 0 < kept.sum() < dogs.sum()
    assert np.array_equal(strict.boxes, everything.boxes[kept])
    assert everything.masks is not None
    assert strict.masks is not None
    assert np.array_equal(strict.masks, everything.masks[kept])
