"""Which settings change what a model computes without changing the names and shapes of its tensors, and
how.
"""

from __future__ import annotations

from uer.config.model import ModelConfig

COMMON = (
    "mask",
    "heads_num",
    "head_size",
    "hidden_act",
    "layernorm",
    "layernorm_positioning",
    "remove_attention_scale",
    "has_residual_attention",
    "scale_lm_output",
)
STRUCTURE = (
    "embedding",
    "encoder",
    "decoder",
    "emb_size",
    "hidden_size",
    "feedforward_size",
    "layers_num",
    "remove_embedding_layernorm",
    "feed_forward",
    "remove_transformer_bias",
    "relative_position_embedding",
    "relative_attention_buckets_num",
    "factorized_embedding_parameterization",
    "parameter_sharing",
)


def differences(
    one: ModelConfig, other: ModelConfig, *, structure: bool, like_uer: bool = False
) -> list[str]:
    """Settings in which two configurations compute differently, as `name VALUE instead of OTHER`.

    Args:
        structure: also those that show in names and shapes.
        like_uer: UER-py's layer norm counts as the usual one, and the epsilon does not matter.
    """
    names = [*COMMON, *(STRUCTURE if structure else ())]
    if one.decoder and other.decoder:
        names += ["tgt_embedding", "decoder_depth"] if structure else []
    if "sinusoidalpos" in one.embedding and "sinusoidalpos" in other.embedding and not like_uer:
        names.append("sinusoid")
    if not like_uer and "uer" not in (one.layernorm, other.layernorm):
        names.append("layernorm_eps")
    out = []
    for name in names:
        first, second = getattr(one, name), getattr(other, name)
        if name == "layernorm" and like_uer:
            first, second = first.replace("uer", "normal"), second.replace("uer", "normal")
        if first != second:
            out.append(f"{name} {_word(first)} instead of {_word(second)}")
    return out


def _word(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
