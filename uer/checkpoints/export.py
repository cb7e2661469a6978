"""Models of ours as folders that Hugging Face's `AutoModel` classes load."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from uer.checkpoints.arithmetic import differences
from uer.checkpoints.families import ELSEWHERE, FAMILIES, pick_family
from uer.checkpoints.families.convert import moved_positions, to_theirs
from uer.checkpoints.families.family import DOWNSTREAM, Family
from uer.checkpoints.folder import PROBLEMS
from uer.checkpoints.io import write_tensors
from uer.checkpoints.sentence_bert import write_modules
from uer.config.model import FROZEN, PARTNERS, ModelConfig
from uer.errors import CheckpointError
from uer.models.build import build_body
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.pipelines import save_for_transformers
from uer.utils.files import atomic_folder

# UER-py's own layer norm is exported as the usual one with the least epsilon, which comes nearest.
LEAST_EPS = 1e-12


def apart(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, dict[str, Tensor]]]:
    """The tensors of a model, and by name those of the models that stood beside it and were trained too."""
    own: dict[str, Tensor] = {}
    beside: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.items():
        partner, _, rest = name.partition(".")
        if partner not in PARTNERS:
            own[name] = tensor
        elif partner not in FROZEN:
            beside.setdefault(partner, {})[rest] = tensor
    return own, beside


def choose_family(
    config: ModelConfig, extra: Mapping[str, Any], name: str | None = None, part: str | None = None
) -> Family:
    """The family that computes what this configuration says: the named one; else the one it came from (of a
    model of another program: its counterpart in `transformers`), or one that fits, rather one that has a
    class for the head `part`.

    Raises:
        CheckpointError: none fits; the message says what the nearest does otherwise.
    """
    came_from = str(extra.get("family")).removeprefix("paddle-").removeprefix("tf-")
    known = [family for family in FAMILIES if not family.startswith(ELSEWHERE)]
    names = [name] if name else sorted(known, key=lambda family: family != came_from)
    misses = {candidate: misfits(pick_family(candidate), config) for candidate in names}
    fitting = [candidate for candidate in names if not misses[candidate]]
    if fitting:
        settled = name is not None or fitting[0] == came_from
        having = [candidate for candidate in fitting if settled or part in pick_family(candidate).classes]
        return pick_family((having or fitting)[0])
    nearest = min(misses, key=lambda candidate: len(misses[candidate]))
    raise CheckpointError(
        f"no Hugging Face family computes what this model does; {nearest} has {', '.join(misses[nearest])}."
    )


def misfits(chosen: Family, config: ModelConfig) -> list[str]:
    """What a family does otherwise than this configuration says."""
    try:
        theirs = chosen.model_config(chosen.config_json(config, ""), "config.json")
    except CheckpointError as error:
        return [str(error)]
    return differences(theirs, config, structure=True, like_uer=True)


def check_head(chosen: Family, config: ModelConfig, part: str) -> None:
    """Whether the family's class computes the same head.

    Raises:
        CheckpointError: it pools otherwise, or has another activation.
    """
    if "sp" in part.split() and config.sp_labels_num != 2:
        raise CheckpointError(
            f"the sp target of the model tells {config.sp_labels_num} kinds of pairs apart, that of "
            f"{chosen.classes[part]} 2; export the model without it (--head mlm)."
        )
    if part not in ("cls", "choice"):
        return
    act = config.head_act or ("tanh" if part == "cls" else "none")
    if act != chosen.head_act:
        raise CheckpointError(
            f"the head of the model has the activation '{act}', that of {chosen.classes[part]} "
            f"'{chosen.head_act}'; train with head_act {chosen.head_act} in the JSON config to export it."
        )
    pooling, bias = chosen.fixed.get("pooling", "first"), chosen.fixed.get("head_bias", True)
    if config.pooling != pooling:
        raise CheckpointError(
            f"the model pools by '{config.pooling}', {chosen.classes[part]} takes the {pooling} token; "
            f"train with --pooling {pooling} to export it."
        )
    if part == "cls" and config.head_bias != bias:
        raise CheckpointError(
            f"the last layer of the head has {'a' if config.head_bias else 'no'} bias, that of "
            f"{chosen.classes[part]} has {'one' if bias else 'none'}; train with head_bias "
            f"{str(bias).lower()} in the JSON config to export it."
        )


def choose_part(state: Mapping[str, Tensor], chosen: Family, part: str | None = None) -> str:
    """The head of a model of ours, as a key of `Family.classes`, by the names and sizes of its tensors.

    Raises:
        CheckpointError: the family has no class for it.
    """
    if part is None:
        part = head_of(state)
    if part not in chosen.classes:
        known = ", ".join(name or "none" for name in chosen.classes)
        raise CheckpointError(
            f"there is no {chosen.name} class in transformers for a model with the head '{part}'; "
            f"choose from {known} by --head."
        )
    return part


def head_of(state: Mapping[str, Tensor]) -> str:
    """The head that the names and sizes of tensors tell, as a key of `Family.classes`."""
    if "output_layer_2.weight" in state:
        return "cls"
    if "output_layer.weight" in state:
        return {1: "choice", 2: "qa"}.get(state["output_layer.weight"].shape[0], "tok")
    heads = [
        name for name in ("mlm", "sp", "lm", "rtd") if any(key.startswith(f"target.{name}.") for key in state)
    ]
    return " ".join(heads)


def export_folder(
    folder: str | Path,
    state: Mapping[str, Tensor],
    config: ModelConfig,
    chosen: Family,
    part: str,
    *,
    labels: Mapping[str, int] | Sequence[str] | None = None,
    extra: Mapping[str, Any] | None = None,
    tokenizer: Tokenizer | None = None,
    pooling: str | None = None,
) -> None:
    """Write `config.json`, `model.safetensors` and the tokenizer's files; the folder appears whole or not at
    all.

    Args:
        part: a key of `chosen.classes`.
        labels: label → id of a classifier, or the labels in the order of their ids.
        extra: of the companion; ids of special tokens go into config.json.
        tokenizer: written so that `AutoTokenizer` gives the same ids; None: no tokenizer is written.
        pooling: of a sentence-BERT, whose modules are written too.

    Raises:
        CheckpointError: a tensor has no place in this family, or one is missing; the head computes otherwise.
    """
    check_head(chosen, config, part)
    if config.layernorm == "uer":
        config = config.replace(layernorm="normal", layernorm_eps=LEAST_EPS)
    tensors, tied = to_theirs(chosen, state, config, part)
    values = chosen.config_json(config, part)
    values.update(_sizes(state, tensors), tie_word_embeddings=tied)
    if set(part.split()) & set(DOWNSTREAM) - {"choice"}:
        values.update(_labels(state, labels))
    if (extra or {}).get("task") in PROBLEMS:
        values["problem_type"] = PROBLEMS[extra["task"]]
    if tokenizer is not None:
        values.update(_token_ids(chosen, tokenizer))
    values.update({name: value for name, value in (extra or {}).items() if name.endswith("_token_id")})
    if chosen.from_pad:
        tensors = moved_positions(tensors, 1, values["pad_token_id"])
        values["max_position_embeddings"] = config.max_seq_length + values["pad_token_id"] + 1
    with atomic_folder(folder) as temporary:
        text = json.dumps(values, ensure_ascii=False, indent=2)
        (temporary / "config.json").write_text(text + "\n", encoding="utf-8")
        with open(temporary / "model.safetensors", "wb") as file:
            write_tensors(tensors, file, torch_format=False)
        if pooling is not None:
            write_modules(temporary, pooling, config.hidden_size, config.max_seq_length)
        if tokenizer is not None:
            save_for_transformers(
                tokenizer,
                temporary,
                config.max_seq_length,
                framed=chosen.name not in ("gpt2", "t5", "t5-v1_1", "mt5"),
                types=values.get("type_vocab_size", 1) > 1,
                generates="lm" in chosen.classes,
            )


def _token_ids(chosen: Family, tokenizer: Tokenizer) -> dict[str, int]:
    """The ids that batches are filled up with and that texts begin and end with."""
    ids = {"pad_token_id": tokenizer.pad_id}
    if "lm" not in chosen.classes:
        return ids
    of_roles = {"bos_token": tokenizer.special.cls, "eos_token": tokenizer.special.sep}
    names = tokenizer.names if tokenizer.name == "folder" else of_roles
    ids.update({f"{name}_id": tokenizer.vocab.index[names[name]] for name in of_roles if name in names})
    if chosen.shared is not None:
        ids["decoder_start_token_id"] = tokenizer.frame.start
    return ids


def _sizes(state: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Sizes of tables, which only the tensors tell."""
    sizes = {"vocab_size": state["embedding.word.embedding.weight"].shape[0]}
    for name, tensor in tensors.items():
        if name.endswith("token_type_embeddings.weight"):
            sizes["type_vocab_size"] = tensor.shape[0]
    return sizes


def _labels(state: Mapping[str, Tensor], labels: Mapping[str, int] | Sequence[str] | None) -> dict[str, Any]:
    """The label map in their form; UER's token classifiers have a last class for padding."""
    output = (
        state["output_layer_2.weight"] if "output_layer_2.weight" in state else state["output_layer.weight"]
    )
    names = {number: f"LABEL_{number}" for number in range(output.shape[0])}
    if labels is not None and not isinstance(labels, Mapping):
        labels = {
            name: number for number, name in enumerate(labels)
        }  # of a task of ours, in the order of ids
    if labels:
        names.update({number: label for label, number in labels.items()})
        if len(labels) == len(names) - 1:
            names[len(labels)] = "[PAD]"
    return {
        "id2label": {str(number): str(label) for number, label in names.items()},
        "label2id": {str(label): number for number, label in names.items()},
    }


def norm_difference(state: Mapping[str, Tensor], config: ModelConfig, seed: int = 7) -> float:
    """The largest difference of hidden states between UER-py's layer norm and the exported one, on random
    ids.
    """
    vocab_size = state["embedding.word.embedding.weight"].shape[0]
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab_size, (2, min(64, config.max_seq_length)), generator=generator)
    hidden = []
    for changes in ({"layernorm": "uer"}, {"layernorm": "normal", "layernorm_eps": LEAST_EPS}):
        body = build_body(config.replace(**changes, dropout=0.0), vocab_size).eval()
        body.load_state_dict({name: state[name] for name in body.state_dict()})
        with torch.no_grad():
            hidden.append(body.encode({"src": ids}).hidden)
    return float((hidden[0] - hidden[1]).abs().max())
