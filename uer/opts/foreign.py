"""Names of UER-py 2019 and 2020 and of TencentPretrain: what they mean here, or what to type instead.

A name that means something we have is read as that; any other is refused with one line that says what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from uer.errors import ConfigError

# Flag of ours → flags of TencentPretrain that mean it, and what each stands for (None: the typed value).
SAME_FLAGS: dict[str, dict[str, Any]] = {
    "peft": {"use_lora": "lora"},
    "lora_rank": {"lora_r": None},
    "gradient_checkpointing": {"deepspeed_checkpoint_activations": True},
}
# Value of a flag or key → our name of the same thing.
SAME_VALUES: dict[tuple[str, str], str] = {("layernorm", "rms"): "t5", ("encoder", "gcnn"): "gatedcnn"}
# Flag that is gone → {flag by which a script is told: flag that took its place there}.
RENAMED: dict[str, dict[str, str]] = {
    **{name: {"test_path": "test_path"} for name in ("input_path", "sent_path", "target_words_path")},
    "output_path": {"prediction_path": "prediction_path", "word_embedding_path": "word_embedding_path"},
    "output_word_embedding_path": {"word_embedding_path": "word_embedding_path"},
    "pretrained_model_path": {"load_model_path": "load_model_path"},
    "vocab_path": {"delimiter": "output_path"},
    "tokenizer": {"delimiter": "delimiter"},
    "resume_from_checkpoint": {"resume": "resume"},
}
_TEXT = "this toolkit reads text, no images and no speech"
_POSITIONS = (
    "positions are learnt, sinusoidal or T5's here (--embedding word pos, --embedding word sinusoidalpos, "
    "--relative_position_embedding); models with others, as LLaMA, cannot be built"
)
_CUT = "--engine fsdp or --deepspeed cuts the model among the processes of --world_size; leave it out"
_SUBWORDS = "words are not read as sequences of characters any more; leave it out"
_SIZES = "sizes stand in the JSON config of --config_path"
_LORA = (
    "low-rank adapters are trained by the scripts of finetune/ (--peft lora) and merged into what they save"
)
GONE: dict[str, str] = {
    "cand_vocab_path": "all words of the vocabulary are candidates; leave it out",
    "mean_reciprocal_rank": "finetune/run_dbqa.py scores by it",
    **dict.fromkeys(("subword_type", "sub_vocab_path", "subencoder", "subencoder_type"), _SUBWORDS),
    "sub_layers_num": _SUBWORDS,
    **dict.fromkeys(
        ("emb_size", "hidden_size", "feedforward_size", "heads_num", "layers_num", "kernel_size"), _SIZES
    ),
    **dict.fromkeys(("beta1", "beta2"), "AdamW has 0.9 and 0.999; leave it out"),
    **dict.fromkeys(("use_lora", "lora_r", "lora_alpha", "lora_dropout"), _LORA),
    "lora_pretrained_model_path": (
        "scripts/merge_lora.py puts an adapter into its model; give the result to --pretrained_model_path"
    ),
    **dict.fromkeys(("rotary_position_embedding", "alibi_position_embedding"), _POSITIONS),
    "layer_number_scale": "no layer scales its attention by its number here; leave it out",
    **dict.fromkeys(
        (
            *("tensor_model_parallel_size", "pipeline_model_parallel_size"),
            *("virtual_pipeline_model_parallel_size", "distribute_checkpointed_activations"),
        ),
        _CUT,
    ),
    **dict.fromkeys(
        (
            *("image_height", "image_width", "patch_size", "channels_num", "image_preprocess"),
            *("vqgan_model_path", "vqgan_config_path", "sampling_rate", "audio_preprocess"),
            *("max_audio_frames", "conv_layers_num", "audio_feature_size", "conv_channels"),
            "conv_kernel_sizes",
        ),
        _TEXT,
    ),
}
_BERT = "--embedding word_pos_seg --encoder transformer --mask fully_visible"
_GPT = "--embedding word_pos_seg --encoder transformer --mask causal"
_GPT2 = (
    "--embedding word_pos --remove_embedding_layernorm --encoder transformer --mask causal "
    "--layernorm_positioning pre"
)
_NO_ENCODER = "that encoder of 2019 is gone; the others are transformer, lstm, gru, bilstm and gatedcnn"
# (Flag or key, value) → what to type instead.
GONE_VALUES: dict[tuple[str, str], str] = {
    ("encoder", "bert"): f"in the words of today it is {_BERT}",
    ("encoder", "gpt"): f"in the words of today it is {_GPT}",
    ("encoder", "gpt2"): f"in the words of today it is {_GPT2}",
    **{("encoder", name): _NO_ENCODER for name in ("cnn", "attn", "synt", "rcnn", "crnn")},
    ("embedding", "bert"): "in the words of today it is --embedding word_pos_seg",
    ("embedding", "gpt"): "in the words of today it is --embedding word_pos",
    ("embedding", "gpt2"): "in the words of today it is --embedding word_pos",
    ("embedding", "sinusoidal"): "in the words of today it is --embedding word_sinusoidalpos",
    **{("embedding", name): _TEXT for name in ("patch", "speech", "masked_patch")},
    ("target", "nsp"): "its data come with the hidden tokens: --data_processor bert --target mlm sp, or sp",
    ("target", "s2s"): "with a decoder it is --data_processor mt --decoder transformer --target lm",
    ("target", "clr"): _TEXT,
    ("tokenizer", "word"): "in the words of today it is --tokenizer space",
    ("tokenizer", "hfpretrained"): "name the model's folder by --vocab_path; it brings its tokenizer",
    **{("tokenizer", name): _TEXT for name in ("image", "text_image", "virtual")},
    **{("data_processor", name): _TEXT for name in ("vit", "vilt", "clip", "s2t", "beit", "dalle")},
    ("data_processor", "llm_pretrain"): "--data_processor lm --packing fills its rows in the same way",
    ("data_processor", "llm_sft"): (
        "--data_processor prefixlm learns the second column of source<TAB>target, or the fields source and "
        "target of JSON lines"
    ),
}
# Keys of the config.json of a Hugging Face model that no config of ours has.
HUGGING_FACE_KEYS = {"architectures", "model_type", "transformers_version", "num_hidden_layers"}


def instead_of_flag(flag: str, known: Iterable[str]) -> str | None:
    """What to type instead of an unknown flag, if it is one that another generation or toolkit has."""
    name, known = flag.lstrip("-"), set(known)
    for told_by, new in RENAMED.get(name, {}).items():
        if f"--{told_by}" in known:
            return f"it is --{new} now"
    return GONE.get(name)


def ours(values: dict[str, Any], spelled: Callable[[str], str]) -> dict[str, Any]:
    """The values with names of ours in the place of others'.

    Args:
        values: flag or key → what was typed or read.
        spelled: flag or key → how a message calls it.

    Raises:
        ConfigError: a value that another generation has, and we have not.
    """
    out = dict(values)
    for flag, value in values.items():
        name = flag.removeprefix("tgt_")
        words = value if isinstance(value, (list, tuple)) else (value,)
        for word in (word for word in words if isinstance(word, str)):
            for part in word.split("_") if name == "embedding" else (word,):
                if (instead := GONE_VALUES.get((name, part))) is not None:
                    raise ConfigError(f"{spelled(flag)} is '{word}': {instead}.")
        if isinstance(value, str):
            out[flag] = SAME_VALUES.get((name, value), value)
    return out
