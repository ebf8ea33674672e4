"""Build everything that a run needs from its folder and its spec."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import nn
from torch.optim.swa_utils import AveragedModel

from detkit.components import Messages, RunInfo
from detkit.data.sampling import plan_epoch
from detkit.engine import facts
from detkit.engine.attribution import attributed
from detkit.engine.augmenting import build_augmentation
from detkit.engine.checkpoint import load_checkpoint
from detkit.engine.compute import Compute
from detkit.engine.ema import averaged_model
from detkit.engine.events import Events
from detkit.engine.limits import Limits
from detkit.engine.loading import prepare_loading, training_aspects
from detkit.engine.loggers import Loggers
from detkit.engine.optim import build_optimizer
from detkit.engine.prepare import build_context, build_dataset, read_splits
from detkit.engine.recorder import Recorder, RunRecorder, SilentRecorder
from detkit.engine.run import Run, origin_of, seed_everything
from detkit.engine.saving import begin_extension, bring_back_best, restore
from detkit.engine.search_pruning import Pruning
from detkit.engine.signals import StopRequest
from detkit.engine.state import TrainState
from detkit.engine.strategy import Strategy, plan_strategy
from detkit.errors import ComponentError, ComputeError
from detkit.record.files import read_json
from detkit.record.layout import ExperimentLayout, RunLayout
from detkit.spec.model import ExperimentSpec, ModelUse, Use


def assemble(
    spec: ExperimentSpec, folder: Path, compute: Compute, fabric: Fabric, messages: Messages, stop: StopRequest
) -> tuple[Run, TrainState, dict[str, Any]]:
    """The run of that folder, ready to train: from the beginning, or from its last checkpoint.

    Returns:
        The run, where it is, and the facts for its run.json.
    """
    layout = RunLayout(folder)
    given = read_json(layout.run)
    use, seed, run_id = spec.models[given["model"]], int(given["seed"]), str(given["run_id"])
    dataset = build_dataset(spec, messages)
    splits = read_splits(ExperimentLayout(folder.parent), given.get("fold"))
    limits = Limits(**given.get("limits", {}))
    checkpoint = load_checkpoint(layout.last, run_id=run_id) if layout.last.exists() else None
    state = TrainState.from_dict(checkpoint["state"]) if checkpoint else TrainState()

    def context(component: Use) -> Any:
        return build_context(
            spec,
            component,
            messages=messages,
            class_names=dataset.class_names,
            input_size=use.input,
            device=str(fabric.device),
            seed=seed,
            run_id=run_id,
            run_folder=folder,
            # What goes on needs no weight file: its weights are in the checkpoint.
            weights=checkpoint["model"] if checkpoint and component is use else None,
            weights_origin=checkpoint["origin"]["weights"] if checkpoint and component is use else None,
        )

    def build(component: Use) -> Any:
        with attributed(component, "being built"):
            return component.offered.component.build(component.options, context(component))

    seed_everything(seed, "model", use.key)
    bare_model = build(use)
    if not isinstance(bare_model, nn.Module):
        raise ComponentError(f"{use.title} built a {type(bare_model).__name__}; it must be a torch.nn.Module")
    origin = checkpoint["origin"] if checkpoint else origin_of(bare_model)
    with attributed(use, "saying what of it is trained"):
        strategy = plan_strategy(bare_model, use.train, pretrained=origin["pretrained"], starts=origin.get("starts"))
    origin = {**origin, "starts": strategy.starts}
    if fabric.world_size > 1 and any(strategy.changes_at(epoch) for epoch in range(2, use.train.epochs + 1)):
        raise ComputeError('strategy = "gradual" works on one device; set [compute] devices = 1')
    aspects = training_aspects(dataset, splits.train) if use.train.group_by_aspect else None
    dataset, loading = prepare_loading(spec, use, dataset, splits, fabric, messages)
    strategy.begin_epoch(state.epoch)  # before DDP looks at what trains
    optimizer = build_optimizer(strategy, use.train)
    model, fabric_optimizer = fabric.setup(bare_model, optimizer)
    steps = plan_epoch(
        splits.train,
        batch_size=use.train.batch_size,
        accumulate=use.train.accumulate,
        processes=fabric.world_size,
        seed=seed,
        epoch=1,
    )
    steps_per_epoch = len(steps[: limits.train_steps])
    schedule_start = int(given.get("schedule_from_epoch", 1)) - 1
    info = RunInfo(
        run_id=run_id,
        experiment=spec.experiment.name,
        model=use.key,
        seed=seed,
        fold=given.get("fold"),
        folder=folder,
        class_names=dataset.class_names,
        device=str(fabric.device),
        precision=compute.precision,
        epochs=use.train.epochs,
        steps_per_epoch=steps_per_epoch,
        start_step=state.step,
        parameters=parameters(spec, given, compute, strategy, origin, use, dataset.class_names),
        rehearsal="limits" in given,
    )
    events = Events([(callback, build(callback)) for callback in spec.callbacks.values() if callback.enabled])
    run = Run(
        info=info,
        use=use,
        seed=seed,
        layout=layout,
        fabric=fabric,
        dataset=dataset,
        splits=splits,
        augmentation=build_augmentation(use, dataset, splits.train, build),
        truths={index: dataset.info(index) for index in {*splits.validation, *splits.test}},
        model=model,
        bare_model=bare_model,
        averaged=_averaged(use, bare_model),
        optimizer=fabric_optimizer,
        strategy=strategy,
        origin=origin,
        step_use=spec.training_step,
        training_step=build(spec.training_step),
        metrics={key: (metric, build(metric)) for key, metric in spec.metrics.items() if metric.enabled},
        events=events,
        recorder=_recorder(spec, layout, fabric, build, messages),
        messages=messages,
        stop=stop,
        loading=loading,
        aspects=aspects,
        schedule=(schedule_start * steps_per_epoch, use.train.epochs * steps_per_epoch),
        limits=limits,
        pruning=Pruning.from_dict(given["prune"]) if "prune" in given else None,
        resamples=spec.experiment.resamples,
    )
    seed_everything(seed, "training", use.key, fabric.global_rank)
    if checkpoint is not None:
        restore(run, checkpoint)
        if state.ended and state.epoch == schedule_start < use.train.epochs:  # the run has been extended since
            begin_extension(run, state)
        elif not state.ended:
            bring_back_best(run, state)
    else:
        run.recorder.cut({"steps": 0, "metrics": 0})  # of an earlier try that did not reach its first checkpoint
    return run, state, {**given, **info.parameters}


def _averaged(use: ModelUse, model: nn.Module) -> AveragedModel | None:
    if use.train.ema_decay is None:
        return None
    with attributed(use, "being copied, for the average of its weights"):
        return averaged_model(model, use.train.ema_decay)


def _recorder(spec: ExperimentSpec, layout: RunLayout, fabric: Fabric, build: Any, messages: Messages) -> Recorder:
    if not fabric.is_global_zero:
        return SilentRecorder()
    loggers = Loggers([use for use in spec.loggers.values() if use.enabled], build, messages.warning)
    return RunRecorder(
        layout,
        loggers,
        log_every_steps=spec.experiment.log_every_steps,
        keep_predictions=spec.experiment.keep_predictions,
    )


def parameters(
    spec: ExperimentSpec,
    given: Mapping[str, Any],
    compute: Compute,
    strategy: Strategy,
    origin: Mapping[str, Any],
    use: ModelUse,
    class_names: Sequence[str],
) -> dict[str, Any]:
    """Facts about the run beside those the parent gave: all that a logger or a reader may want to know of it."""
    parts = strategy.rows(use.train.lr)
    return {
        "spec": given["spec"],
        "versions": facts.versions(),
        "hardware": facts.hardware(),
        "device": compute.accelerator,
        "compute": {
            "accelerator": compute.accelerator,
            "processes": compute.processes,
            "precision": compute.precision,
        },
        "seed": given["seed"],
        **{key: given[key] for key in ("fold", "trial") if key in given},
        "class_names": list(class_names),
        "weights_origin": origin["weights"],
        "parameters": sum(row["parameters"] for row in parts),
        "trained_parameters": sum(row["parameters"] for row in parts if row["from_epoch"] is not None),
        "parts": parts,
        "hook_api": spec.registry.hook_api,
        "plugins": facts.plugins(spec),
    }
