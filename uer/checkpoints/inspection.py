"""What can be told of a model from its files alone: family, vintage, sizes, types, ties, labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from uer.checkpoints.companion import Companion, read_companion
from uer.checkpoints.families.convert import OUTPUTS
from uer.checkpoints.folder import Folder, open_folder
from uer.checkpoints.report import count_words
from uer.checkpoints.sentence_bert import STREAM, stream_of
from uer.checkpoints.source import read_source

# Family of a UER file: (name, names that must be there, names that must not). The first that fits is it.
DUAL = "dual (siamese, SBERT)"
GUESSES = (
    (DUAL, ("encoder.encoder_0.",), ()),
    ("t5-v1_1", ("decoder.", "encoder.relative_pos_emb.", "feed_forward.linear_gate."), ()),
    ("t5", ("decoder.", "encoder.relative_pos_emb."), ()),
    ("bart", ("decoder.", "tgt_embedding.pos."), ()),
    ("pegasus or transformer (pre-norm)", ("decoder.", "decoder.layer_norm."), ()),
    ("transformer (machine translation)", ("decoder.",), ()),
    ("albert", ("encoder.transformer.self_attn.",), ()),
    ("gpt2", ("encoder.transformer.", "encoder.layer_norm.", "target.lm."), ("embedding.seg.",)),
    ("bert", ("encoder.transformer.", "target.mlm.", "target.sp."), ()),
    ("bert without sentence prediction (RoBERTa-like)", ("encoder.transformer.", "target.mlm."), ()),
    ("transformer language model", ("encoder.transformer.", "target.lm."), ()),
    ("pre-norm transformer encoder", ("encoder.transformer.", "encoder.layer_norm."), ()),
    ("transformer encoder", ("encoder.transformer.",), ()),
    ("elmo (bilm)", ("encoder.rnn_forward.", "target.bilm."), ()),
    ("recurrent, two directions", ("encoder.rnn_forward.",), ()),
    ("recurrent", ("encoder.rnn.",), ()),
    ("gatedcnn", ("encoder.gate_1.",), ()),
)
HEADS = (
    ("output_layer_2.", "classifier of {} labels"),
    ("output_layers_2.", "multi-task classifier"),
    ("crf.", "sequence labeller of {} labels with CRF"),
    ("output_layer.", "token or choice head of {} outputs"),
    ("classifier.", "siamese classifier of {} labels"),
    ("target.mlm.", "mlm"),
    ("target.sp.linear_2.", "sp"),
    ("target.lm.", "lm"),
    ("target.rtd.", "rtd"),
    ("output_layer_start.", "pointers of start and end"),
    ("target.bilm.", "bilm"),
    ("target.cls.linear_2.", "cls of {} labels"),
)


def inspect(path: str | Path, *, tensors: bool = False) -> list[str]:
    """Lines that describe the model at `path`.

    Args:
        tensors: list every tensor too.

    Raises:
        CheckpointError: it cannot be read.
    """
    companion, folder = read_companion(path), open_folder(path)
    known = companion.extra if companion else {}
    found = read_source(path, flag="FILE_OR_FOLDER")
    guessed = guess_family(found.state)
    families = [known.get("family", guessed), *([guessed] if guessed == DUAL else [])]
    state = found.state
    lines = [
        f"file: {path}",
        f"family: {', '.join(dict.fromkeys(families))}",
        f"names: {found.vintage}",
        f"heads: {', '.join(heads(state, folder)) or 'none'}",
        f"sizes: {', '.join(f'{name} {value}' for name, value in sizes(state).items())}",
        f"parameters: {_parameters(state)}",
        f"types: {_types(state)}",
        f"tied: {_ties(state, folder)}",
    ]
    if found.tables:
        lines.append("sinusoids: those of 2021, stored in the file")
    lines += _described(companion)
    if tensors:
        lines += [f"  {name} {list(tensor.shape)} {_kind(tensor)}" for name, tensor in state.items()]
    return lines


def guess_family(state: Mapping[str, Tensor]) -> str:
    """The kind of model, by the names of its tensors."""
    for name, needed, unwanted in GUESSES:
        if all(_has(state, part) for part in needed) and not any(_has(state, part) for part in unwanted):
            return name
    return "unknown"


def _has(state: Mapping[str, Tensor], part: str) -> bool:
    return any(name.startswith(part) or f".{part}" in name for name in state)


def heads(state: Mapping[str, Tensor], folder: Folder | None = None) -> list[str]:
    """The heads and targets, with the number of labels where it shows; a tied output layer has no tensors."""
    out = []
    for prefix, text in HEADS:
        held = [tensor for name, tensor in state.items() if name.startswith(prefix)]
        if held and not (prefix == "output_layer." and _has(state, "crf.")):
            out.append(text.format(held[0].shape[0]))
    return [*out, "lm"] if "lm" not in out and folder is not None and "lm" in folder.parts else out


def sizes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes under the names of the JSON configuration, as far as shapes tell them."""
    names = {
        name.replace("dual.", "").replace("embedding_0.", "").replace("encoder_0.", ""): name
        for name in state
    }

    def shape(name: str, axis: int) -> int | None:
        """A size of a tensor, None where there is no such tensor."""
        return state[names[name]].shape[axis] if name in names else None

    layer = "encoder.transformer." + (
        "" if "encoder.transformer.self_attn.final_linear.weight" in names else "0."
    )
    found = {
        "vocabulary": shape("embedding.word.embedding.weight", 0),
        "target vocabulary": shape("tgt_embedding.word.embedding.weight", 0),
        "emb_size": shape("embedding.word.embedding.weight", 1),
        "hidden_size": shape(f"{layer}self_attn.final_linear.weight", 0),
        "feedforward_size": shape(f"{layer}feed_forward.linear_1.weight", 0),
        "attention width": shape(f"{layer}self_attn.final_linear.weight", 1),
        "layers_num": _depth(names, "encoder.transformer."),
        "decoder_layers_num": _depth(names, "decoder.transformer_decoder."),
        "max_seq_length": shape("embedding.pos.embedding.weight", 0),
        "segments": shape("embedding.seg.embedding.weight", 0),
    }
    return {name: value for name, value in found.items() if value is not None}


def _depth(names: Mapping[str, str], prefix: str) -> int | None:
    numbers = {name[len(prefix) :].partition(".")[0] for name in names if name.startswith(prefix)}
    counted = [int(number) for number in numbers if number.isdigit()]
    return max(counted) + 1 if counted else None


def tied(state: Mapping[str, Tensor]) -> list[tuple[str, ...]]:
    """Groups of names that hold equal tables; only tensors with a row a token are compared."""
    rows = [
        name
        for name in state
        if name.endswith(("word.embedding.weight", "output_layer.weight", "mlm.linear_2.weight"))
    ]
    groups: list[list[str]] = []
    for name in rows:
        for group in groups:
            if state[group[0]].shape == state[name].shape and torch.equal(state[group[0]], state[name]):
                group.append(name)
                break
        else:
            groups.append([name])
    return [tuple(group) for group in groups if len(group) > 1]


def twins(state: Mapping[str, Tensor]) -> bool:
    """Whether the two streams of a dual model are one, which a file holds twice."""
    first, second = stream_of(state, 0), stream_of(state, 1)
    return (
        bool(first) and first.keys() == second.keys() and all(torch.equal(first[x], second[x]) for x in first)
    )


def _ties(state: Mapping[str, Tensor], folder: Folder | None) -> str:
    if twins(state):
        return "stream 0 = stream 1"
    groups = [" = ".join(group) for group in tied(state)]
    # Hugging Face stores a tied output layer once, and its configuration says so.
    predicts = folder is not None and {"mlm", "lm"} & set(folder.parts)
    if predicts and folder.config().tie_weights and not any(name in state for name in OUTPUTS):
        groups.append("output layer = word embedding, stored once")
    return "; ".join(groups) or "nothing"


def _parameters(state: Mapping[str, Tensor]) -> str:
    spare = {name for group in tied(state) for name in group[1:]}
    if twins(state):
        spare |= {name for name in state if (match := STREAM.match(name)) and match.group(2) == "1"}
    count = sum(tensor.numel() for name, tensor in state.items() if name not in spare)
    body = sum(
        t.numel() for name, t in state.items() if "embedding" not in name.split(".")[0] and name not in spare
    )
    return f"{count} ({count_words(count)}), {count_words(body)} of them outside the embeddings"


def _types(state: Mapping[str, Tensor]) -> str:
    return ", ".join(
        f"{kind} ({number} tensors)" for kind, number in Counter(map(_kind, state.values())).most_common()
    )


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _described(companion: Companion | None) -> list[str]:
    """What the companion, or the config.json of a folder, adds."""
    if companion is None:
        return ["companion: none; --config_path and the vocabulary must be named to use the model"]
    config = companion.config
    lines = [
        f"companion: {companion.folder}",
        f"model: embedding {' '.join(config.embedding)}; encoder {config.encoder}; mask {config.mask}; "
        f"{config.heads_num} heads; {config.hidden_act}; layer norm {config.layernorm}, "
        f"{config.layernorm_positioning}, eps {config.layernorm_eps:g}",
    ]
    if companion.tokenizer is not None:
        lines.append(f"tokenizer: {companion.tokenizer}")
    labels = companion.labels
    if labels:
        lines.append(f"labels: {', '.join(map(str, labels))}")
    if companion.extra:
        lines.append(f"settings: {', '.join(f'{name} {value}' for name, value in companion.extra.items())}")
    return lines
