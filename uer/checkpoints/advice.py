"""A file and a model that do not fit: what differs, and which flag would mend it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from uer.checkpoints.aliases import Canonical
from uer.checkpoints.report import Shape, listed, summary

LAYERS, DECODER_LAYERS = (
    r"encoder\.(?:encoder_0\.)?transformer\.(\d+)\.",
    r"decoder\.transformer_decoder\.(\d+)\.",
)
# What to do about a difference: (where it shows, pattern, advice).
ADVICE = (
    ("left", r"^encoder\.transformer\.", "choose --encoder transformer"),
    ("left", r"^encoder\.conv", "choose --encoder gatedcnn"),
    ("left", LAYERS, "set layers_num in the config to {layers}"),
    ("missing", LAYERS, "set layers_num in the config to {layers}"),
    (
        "left",
        DECODER_LAYERS,
        "set decoder_layers_num in the config to {decoder_layers}",
    ),
    (
        "missing",
        DECODER_LAYERS,
        "set decoder_layers_num in the config to {decoder_layers}",
    ),
    ("left", r"embedding\.seg\.", "add 'seg' to --embedding"),
    ("left", r"embedding\.pos\.", "add 'pos' to --embedding"),
    ("missing", r"embedding\.pos\.", "leave 'pos' out of --embedding"),
    ("missing", r"embedding\.seg\.", "leave 'seg' out of --embedding"),
    ("left", r"embedding\.layer_norm\.", "leave out --remove_embedding_layernorm"),
    ("missing", r"embedding\.layer_norm\.", "add --remove_embedding_layernorm"),
    ("left", r"coder\.layer_norm\.", "add --layernorm_positioning pre"),
    ("missing", r"coder\.layer_norm\.", "use --layernorm_positioning post"),
    ("left", r"relative_attention_bias", "add --relative_position_embedding"),
    ("missing", r"relative_attention_bias", "leave out --relative_position_embedding"),
    ("left", r"layer_norm_1\.weight", "add --layernorm t5"),
    ("missing", r"layer_norm_1\.weight", "leave out --layernorm t5"),
    ("left", r"linear_gate", "add --feed_forward gated"),
    ("missing", r"linear_gate", "use --feed_forward dense"),
    ("left", r"encoder\.linear\.", "add --factorized_embedding_parameterization"),
    ("left", r"encoder\.transformer\.self_attn", "add --parameter_sharing"),
    ("missing", r"encoder\.transformer\.self_attn", "leave out --parameter_sharing"),
    ("left", r"output_layer\.bias", "add --has_lmtarget_bias"),
    ("missing", r"target\.lm\.output_layer\.bias", "leave out --has_lmtarget_bias"),
    (
        "left",
        r"(?:attn\.linear_layers\.\d|feed_forward\.linear_[12])\.bias",
        "leave out --remove_transformer_bias",
    ),
    (
        "missing",
        r"(?:attn\.linear_layers\.\d|feed_forward\.linear_[12])\.bias",
        "add --remove_transformer_bias",
    ),
    ("missing", r"^(?:output_layer|classifier|crf)", "this is no model of this task: fine-tune one first"),
    ("shape", r"pos\.embedding", "set --max_seq_length to {positions}"),
    ("shape", r"embedding\.word\.", "{vocabulary}"),
)
SHOWN = 4  # names of each kind in the one line; --verbose lists all
HUGGING_FACE = re.compile(r"(?:bert|roberta|albert|electra|distilbert|ernie|transformer|model|cls|shared)\.")
VOCABULARY = (
    "the vocabulary has {model} tokens and the file {file}: name the file's own vocabulary, or adapt the "
    "file with python3 scripts/dynamic_vocab_adapter.py --old_model_path {path} --old_vocab_path OLD "
    "--new_vocab_path NEW --new_model_path ADAPTED"
)


@dataclass
class Difference:
    """Names that do not meet their counterpart."""

    missing: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    shape: dict[str, tuple[Shape, Shape]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.missing or self.left or self.shape)


def refusal(path: Path, found: Canonical, targets: Mapping[str, Tensor], difference: Difference) -> str:
    """The one line that says what does not fit and how to mend it."""
    known = [name for name in found.state if name in targets]
    if not known:
        expected = "expected weights in the names of UER-py or of a supported Hugging Face family"
        if any(HUGGING_FACE.match(name) for name in found.state):
            expected = (
                "these are names of Hugging Face: name the folder in which it lies with its config.json, or "
                "convert it by scripts/convert_FAMILY_from_huggingface_to_uer.py"
            )
        return (
            f"{path} holds no tensor that this model knows (it holds {summary(found.state) or 'nothing'}); "
            f"{expected}."
        )
    parts = []
    if difference.missing:
        names = listed(difference.missing, SHOWN)
        parts.append(f"{len(difference.missing)} tensors are missing from the file: {names}")
    if difference.left:
        parts.append(f"{len(difference.left)} are left over: {listed(difference.left, SHOWN)}")
    if difference.shape:
        shapes = [
            f"{name} (file {list(file)}, model {list(model)})"
            for name, (file, model) in difference.shape.items()
        ]
        parts.append(f"{len(shapes)} have another shape: {listed(shapes, SHOWN)}")
    advice = _advice(path, found, targets, difference)
    mend = (
        f"To mend it: {'; '.join(advice)}."
        if advice
        else "Check --config_path and the model flags, or allow it by --allow_missing REGEX."
    )
    return f"{path} ({found.vintage} names) does not fit the model: {'; '.join(parts)}. {mend}"


def _advice(path: Path, found: Canonical, targets: Mapping[str, Tensor], difference: Difference) -> list[str]:
    """What the differences tell about the flags; at most three things to change.

    A flag is to blame only where one side has all tensors of a kind and the other none, or another depth.
    """
    facts = {
        "layers": _depth(found.state, LAYERS),
        "decoder_layers": _depth(found.state, DECODER_LAYERS),
        "positions": next(
            (f[0] for name, (f, m) in difference.shape.items() if "pos.embedding" in name and f[0] != m[0]),
            None,
        ),
    }
    words = next(((f, m) for name, (f, m) in difference.shape.items() if "word.embedding" in name), None)
    if words and words[0][1:] == words[1][1:]:
        facts["vocabulary"] = VOCABULARY.format(model=words[1][0], file=words[0][0], path=path)
    else:
        facts["vocabulary"] = "set the sizes in --config_path to those of the file"
    recurrent = _recurrent(found.state)
    advice = [f"choose --encoder {recurrent}"] if recurrent not in (None, _recurrent(targets)) else []
    advice += [
        text.format(**facts)
        for where, pattern, text in ADVICE
        if any(re.search(pattern, name) for name in getattr(difference, where))
        and _to_blame(pattern, found.state, targets, where)
        and not ("{positions}" in text and facts["positions"] is None)
    ]
    return list(dict.fromkeys(advice))[:3]


def _to_blame(pattern: str, held: Iterable[str], targets: Iterable[str], where: str) -> bool:
    """Whether a flag explains what is missing or left over: the other side has nothing of that kind, or the
    depths differ.
    """
    if pattern in (LAYERS, DECODER_LAYERS):
        depths = _depth(held, pattern), _depth(targets, pattern)
        return depths[0] != depths[1] and 0 not in depths
    others = {"missing": held, "left": targets}.get(where, ())
    return not any(re.search(pattern, name) for name in others)


def _recurrent(state: Mapping[str, Tensor]) -> str | None:
    """The recurrent encoder that names and shapes speak of."""
    for part, both in (("rnn_forward", True), ("rnn", False)):
        weight = state.get(f"encoder.{part}.weight_hh_l0")
        if weight is not None:
            kind = {4: "lstm", 3: "gru"}.get(weight.shape[0] // weight.shape[1], "rnn")
            twice = " --bidirectional" if f"encoder.{part}.weight_hh_l0_reverse" in state else ""
            return f"{'bi' if both else ''}{kind}{twice}"
    return None


def _depth(names: Iterable[str], pattern: str) -> int:
    """Number of layers that the names count."""
    return 1 + max(
        (int(match.group(1)) for match in (re.search(pattern, name) for name in names) if match), default=-1
    )
