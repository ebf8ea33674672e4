"""A training step in one file: a teacher that fills in what annotators have missed.

In many datasets objects are missing, and a detector is punished for finding them. Here a teacher, the moving average of
the student's weights (Tarvainen and Valpola 2017, Mean teachers are better role models), looks at each batch first.
What it is sure of and no annotation overlaps counts as an object, too.

    plugins = ["mean_teacher.py"]
    [training_step]
    use = "mean_teacher"
    from_step = 500

The step has a state, the teacher: it goes into the checkpoint, so that a resumed run goes on with the same bits.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.ops import box_iou

from detkit import BuildContext, Options, TrainingStepComponent, hookimpl
from detkit.data.types import Batch, Target


class MeanTeacherOptions(Options):
    from_step: int = Field(500, ge=1, description="the step from which the teacher is listened to")
    decay: float = Field(0.999, gt=0, lt=1, description="share of the teacher that stays in each step")
    confidence: float = Field(0.8, ge=0, le=1, description="detections of the teacher below it do not count")
    overlap: float = Field(0.3, ge=0, le=1, description="detections that overlap an object more (IoU) are not new")


class MeanTeacher:
    """The model's own losses, on the objects that are annotated and those that the teacher adds.

    Attributes:
        added: objects added so far.
    """

    def __init__(self, options: MeanTeacherOptions) -> None:
        self._options = options
        self._teacher: nn.Module | None = None
        self._waiting: dict[str, Tensor] | None = None
        self._step = 0
        self.added = 0

    def __call__(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        # The validation loss is asked without gradient: it neither teaches nor moves the teacher.
        if not torch.is_grad_enabled():
            return self._losses(model, batch.images, batch.targets)
        self._step += 1
        teacher = self._follow(model)
        targets: Sequence[Target] = batch.targets
        if self._step >= self._options.from_step:
            found = self._look(teacher, batch.images)
            targets = [self._completed(target, seen) for target, seen in zip(batch.targets, found, strict=True)]
        return self._losses(model, batch.images, targets)

    def _losses(self, model: nn.Module, images: list[Tensor], targets: Sequence[Target]) -> dict[str, Tensor]:
        losses: dict[str, Tensor] = model(images, list(targets))
        return losses

    # --- the teacher ---

    def _follow(self, model: nn.Module) -> nn.Module:
        """Move the teacher a little towards the student: without a gradient, and after the step before."""
        student = getattr(model, "module", model)  # on many devices the model is wrapped
        if self._teacher is None:
            # Through memory that shares nothing: the student's weights are written to in place.
            self._teacher = copy.deepcopy(student).requires_grad_(False).eval()
            if self._waiting is not None:
                self._teacher.load_state_dict(self._waiting)
                self._waiting = None
        decay = min(self._options.decay, self._step / (self._step + 9))  # the first weights are soon forgotten
        with torch.no_grad():
            own = self._teacher.state_dict()
            for name, value in student.state_dict().items():
                if value.is_floating_point():
                    own[name].lerp_(value, 1 - decay)
                else:
                    own[name].copy_(value)
        return self._teacher

    def _look(self, teacher: nn.Module, images: list[Tensor]) -> list[dict[str, Tensor]]:
        with torch.no_grad():
            found: list[dict[str, Tensor]] = teacher(list(images))
        return found

    def _completed(self, target: Target, found: dict[str, Tensor]) -> Target:
        """The target with what the teacher is sure of beside what it holds; the given one is not written to."""
        boxes = target["boxes"].as_subclass(Tensor)
        sure = found["scores"] >= self._options.confidence
        if len(boxes):
            sure &= box_iou(found["boxes"], boxes).max(dim=1).values <= self._options.overlap
        sides = found["boxes"][:, 2:] - found["boxes"][:, :2]
        sure &= (sides > 1).all(dim=1)
        # A teacher without masks cannot complete targets that have some: their numbers must agree.
        if not bool(sure.any()) or ("masks" in target and "masks" not in found):
            return target
        count, extra = int(sure.sum()), found["boxes"][sure].to(boxes.dtype)
        self.added += count
        completed: Any = {
            **target,
            "boxes": tv_tensors.wrap(torch.cat([boxes, extra]), like=target["boxes"]),
            "labels": torch.cat([target["labels"], found["labels"][sure]]),
            "area": torch.cat([target["area"], sides[sure].prod(dim=1).to(target["area"].dtype)]),
            "iscrowd": torch.cat([target["iscrowd"], target["iscrowd"].new_zeros(count)]),
        }
        if "masks" in target:
            masks = target["masks"].as_subclass(Tensor)
            drawn = (found["masks"][sure][:, 0] > 0.5).to(masks.dtype)
            completed["masks"] = tv_tensors.wrap(torch.cat([masks, drawn]), like=target["masks"])
        return completed  # type: ignore[no-any-return]

    # --- its state ---

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values only: a checkpoint is read without running code."""
        teacher = self._waiting if self._teacher is None else self._teacher.state_dict()
        return {"step": self._step, "added": self.added, "teacher": dict(teacher) if teacher is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Before the first step there is no model to build the teacher of: it waits."""
        self._step, self.added = state["step"], state["added"]
        self._teacher, self._waiting = None, state["teacher"]


def build_mean_teacher(options: MeanTeacherOptions, context: BuildContext) -> MeanTeacher:
    return MeanTeacher(options)


MEAN_TEACHER = TrainingStepComponent(
    "mean_teacher", MeanTeacherOptions, build_mean_teacher, "a teacher adds objects that annotators have missed"
)


@hookimpl
def detkit_training_steps() -> list[TrainingStepComponent[Any]]:
    return [MEAN_TEACHER]
