"""A detector put together: network, weights, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from detkit import BuildContext, Part
from torch import Tensor, nn
from transformers import AutoModelForObjectDetection, PretrainedConfig, PreTrainedModel

from detkit_transformers.configs import adapted, make_config
from detkit_transformers.detector import SetDetector, refuse_no_classes
from detkit_transformers.options import Family, RTDetrOptions, SetOptions
from detkit_transformers.pretrained import Pretrained, load, refuse_missing_libraries
from detkit_transformers.recipes import STAGES

#: Layers that count classes, by their names in the two families.
CLASS_LAYERS = ("class_labels_classifier.", "model.enc_score_head.", "decoder.class_embed.", "denoising_class_embed.")


def build(family: Family, options: SetOptions, context: BuildContext) -> SetDetector:
    """See `detkit_transformers.build_detector`."""
    refuse_missing_libraries(family)
    refuse_no_classes(family, context.class_names)
    # A run that goes on, or a checkpoint that predicts: its tensors come later, from neither hub nor folder.
    source = load(family, options, context) if context.weights is None and options.pretrained != "none" else None
    stored = source.config if source else context.weights_origin.get("config")
    classes = len(context.class_names)
    config = adapted(family, stored, options, classes) if stored else make_config(family, options, classes)
    config.id2label = dict(enumerate(context.class_names))
    config.label2id = {name: number for number, name in config.id2label.items()}

    # Random weights follow from the context's seed alone, whatever was drawn before.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        network = _network(config, from_nothing=stored is None)
    _compute_boxes_in_float32(network)
    taken = _take(network, source, context) if source else frozenset()
    detector = SetDetector(
        network,
        min_size=context.min_size,
        max_size=context.max_size,
        square=isinstance(options, RTDetrOptions) and options.resize == "square",
        max_detections=options.max_detections,
        score_threshold=options.score_threshold,
    )
    scale = options.backbone_lr if stored else 1.0
    detector.parts = _parts(network, scale)  # type: ignore[assignment]  # nn.Module's own attributes are typed
    detector.pretrained = frozenset(f"network.{name}" for name in taken)  # type: ignore[assignment]
    detector.weights_origin = _origin(source, network, taken, context)  # type: ignore[assignment]
    return detector


def _network(config: PretrainedConfig, *, from_nothing: bool) -> PreTrainedModel:
    network: PreTrainedModel = AutoModelForObjectDetection.from_config(config)
    # `[train] trainable_layers` says what is frozen. (transformers would freeze all of a ResNet under DETR: it looks
    # for the stages of timm's.)
    network.requires_grad_(True)
    if from_nothing:
        _use_group_norms(network)
    return network


def _use_group_norms(module: nn.Module) -> None:
    """Batches of detection are too small for statistics of their own (He et al. 2019, section 3.1)."""
    for name, child in module.named_children():
        if "BatchNorm2d" in type(child).__name__:
            channels = len(child.get_buffer("running_mean"))
            groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0 and (channels // g >= 8 or g == 1))
            setattr(module, name, nn.GroupNorm(groups, channels))
        else:
            _use_group_norms(child)


def _compute_boxes_in_float32(network: PreTrainedModel) -> None:
    """Let the box heads hand on float32 under autocast: in bf16 a box at 500 px is off by up to 2 px."""
    for name, module in network.named_modules():
        if type(module).__name__.endswith("MLPPredictionHead") and "query_pos" not in name:
            module.register_forward_hook(_to_float32)


def _to_float32(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    return output.float()


def _take(network: PreTrainedModel, source: Pretrained, context: BuildContext) -> frozenset[str]:
    """Copy what fits; the layers that count classes only where the classes are the same ones. Returns the names."""
    same = source.class_names == tuple(context.class_names)
    own = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in source.tensors.items()
        if name in own and own[name].shape == tensor.shape and (same or not any(part in name for part in CLASS_LAYERS))
    }
    network.load_state_dict(fitting, strict=False)
    return frozenset(fitting)


def _origin(
    source: Pretrained | None, network: PreTrainedModel, taken: frozenset[str], context: BuildContext
) -> dict[str, Any]:
    """Plain values for the record; of a model that is built again, what it said when it was first built."""
    if source is None:
        return dict(context.weights_origin) or {"source": "none"}
    new = [name for name in network.state_dict() if name not in taken]
    context.messages.info(
        f"{source.name}: {len(taken)} tensors taken, {len(new)} new{': ' + ', '.join(new[:4]) if new else ''}"
        + (" ..." if len(new) > 4 else "")
    )
    return {
        "source": source.kind,
        "name": source.name,
        "revision": source.revision,
        "taken": len(taken),
        "new": new,
        # With it a checkpoint is built again where there is no network.
        "config": dict(source.config),
    }


def _parts(network: PreTrainedModel, backbone_scale: float) -> tuple[Part, ...]:
    """From the image to the predictions."""
    model = network.model
    resnet = model.backbone.model
    modules = [(resnet.embedder,), *((stage,) for stage in resnet.encoder.stages)]
    backbone = [
        Part(f"backbone {name}", kept, backbone=True, lr_scale=backbone_scale)
        for name, kept in zip(STAGES, modules, strict=True)
    ]
    if network.config.model_type == "detr":
        rest: Mapping[str, tuple[nn.Module, ...]] = {
            "encoder": (model.input_projection, model.encoder),
            "decoder": (model.query_position_embeddings, model.decoder),
            "class head": (network.class_labels_classifier,),
            "box head": (network.bbox_predictor,),
        }
    else:
        decoder = model.decoder
        denoising = [model.denoising_class_embed] if network.config.num_denoising else []
        rest = {
            "encoder": (model.encoder_input_proj, model.encoder),
            "decoder": (model.decoder_input_proj, model.enc_output, decoder.layers, decoder.query_pos_head),
            "class heads": (model.enc_score_head, decoder.class_embed, *denoising),
            "box heads": (model.enc_bbox_head, decoder.bbox_embed),
        }
    return (*backbone, *(Part(name, kept) for name, kept in rest.items()))
