"""The networks: their configurations as published, and a tiny one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers import DetrConfig, PretrainedConfig, ResNetConfig, RTDetrConfig, RTDetrResNetConfig, RTDetrV2Config

from detkit_transformers.options import DetrOptions, Family, RTDetrOptions, SetOptions

CONFIGS: Mapping[Family, type[PretrainedConfig]] = {
    "detr": DetrConfig,
    "rt_detr": RTDetrConfig,
    "rt_detr_v2": RTDetrV2Config,
}
_TINY_RESNET: dict[str, Any] = {
    "embedding_size": 24,
    "hidden_sizes": [24, 48, 64, 96],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
_RESNETS: Mapping[str, dict[str, Any]] = {
    "tiny": _TINY_RESNET,
    "r18": {"hidden_sizes": [64, 128, 256, 512], "depths": [2, 2, 2, 2], "layer_type": "basic"},
    "r50": {},
}
#: Of RT-DETR: the sizes of Zhao et al. 2023, table 2 (r18, r50), as the configurations on the hub have them.
_RT_DETR: Mapping[str, dict[str, Any]] = {
    "tiny": {
        "encoder_in_channels": [48, 64, 96],
        "encoder_hidden_dim": 64,
        "encoder_ffn_dim": 128,
        "encoder_attention_heads": 4,
        "decoder_in_channels": [64, 64, 64],
        "d_model": 64,
        "decoder_ffn_dim": 128,
        "decoder_attention_heads": 4,
        "decoder_layers": 2,
        "num_queries": 20,
        "hidden_expansion": 0.5,
    },
    "r18": {"encoder_in_channels": [128, 256, 512], "hidden_expansion": 0.5, "decoder_layers": 3},
    "r50": {},
}
_DETR: Mapping[str, dict[str, Any]] = {
    "tiny": {
        "d_model": 32,
        "encoder_layers": 2,
        "encoder_ffn_dim": 64,
        "encoder_attention_heads": 4,
        "decoder_layers": 2,
        "decoder_ffn_dim": 64,
        "decoder_attention_heads": 4,
        "num_queries": 20,
        "dropout": 0.0,
    },
    "r18": {},
    "r50": {},
}


def make_config(family: Family, options: SetOptions, classes: int) -> PretrainedConfig:
    """The configuration of a network that starts from nothing."""
    resnet = _RESNETS[options.size]
    if family == "detr":
        # timm's ResNet, the default, would be another package to install.
        backbone = ResNetConfig(**resnet, out_features=["stage4"])
        config = DetrConfig(backbone_config=backbone, **_DETR[options.size])
        config.init_std = _xavier(config.d_model)
        return _set(config, options, classes)
    backbone = RTDetrResNetConfig(**resnet, out_indices=[2, 3, 4])
    # The prior of focal losses (Lin et al. 2017, section 3.3), as the authors' own code has it.
    config = CONFIGS[family](backbone_config=backbone, initializer_bias_prior_prob=0.01, **_RT_DETR[options.size])
    config.initializer_range = _xavier(config.d_model)
    return _set(config, options, classes)


def _xavier(width: int) -> float:
    """The deviation of a square layer's weights (Glorot and Bengio 2010), with which the authors trained.

    That of transformers, 0.01 to 0.02, is for what is loaded anyway: from nothing, its boxes hardly learn.
    """
    return float(width**-0.5)


def adapted(family: Family, stored: Mapping[str, Any], options: SetOptions, classes: int) -> PretrainedConfig:
    """A configuration that was stored, for other classes."""
    return _set(CONFIGS[family].from_dict(dict(stored)), options, classes)


def _set(config: PretrainedConfig, options: SetOptions, classes: int) -> PretrainedConfig:
    config.num_labels = classes
    config.auxiliary_loss = True
    if isinstance(options, DetrOptions):
        config.eos_coefficient = options.no_object_weight
    if isinstance(options, RTDetrOptions):
        config.num_denoising = options.denoising
    return config
