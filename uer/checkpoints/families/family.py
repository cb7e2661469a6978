"""What a family of Hugging Face models is: its key map, its config.json, its classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from uer.checkpoints.families.rows import Rows
from uer.config.model import ModelConfig
from uer.errors import CheckpointError

# hidden_act of ours → names of the same function in their config.json, the one we write first.
ACTIVATIONS = {
    "gelu": ("gelu", "gelu_python"),
    "gelu_fast": ("gelu_new", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate"),
    "relu": ("relu",),
    "silu": ("silu", "swish"),
    "tanh": ("tanh",),
    "linear": ("linear",),
}
# End of a class name → the parts of the key map that such a model has beside its body.
PARTS = {
    "ForPreTraining": ("mlm", "sp"),
    "ForMaskedLM": ("mlm",),
    "ForNextSentencePrediction": ("sp",),
    "ForSequenceClassification": ("cls",),
    "ForTokenClassification": ("tok",),
    "ForQuestionAnswering": ("qa",),
    "ForMultipleChoice": ("choice",),
    "LMHeadModel": ("lm",),
    "ForCausalLM": ("lm",),
    "ForConditionalGeneration": ("lm",),
    "Model": (),
}
DOWNSTREAM = ("cls", "tok", "qa", "choice")


@dataclass(frozen=True)
class Size:
    """A field of config.json that is a field of ours."""

    ours: str
    theirs: str
    default: Any


@dataclass(frozen=True)
class Family:
    """One family of models.

    Attributes:
        name: how `--family` and messages call it.
        model_types: values of `model_type` in config.json.
        prefix: what the names of the body begin with in a model with a head; the body alone lacks it.
        rows: the key map.
        sizes: fields that both configurations have.
        fixed: fields of ours that such a model always has.
        written: fields of theirs that an export always has.
        required: fields of theirs that must have one of these values, when they are there.
        classes: part → class of `transformers`, for export; "" is the body alone.
        parts: class → parts, where the end of the class name does not tell.
        ignored: regular expressions of their tensors that hold nothing trained, with the reason.
        read, write: what else of config.json depends on what (`read` gets config.json, `write` ours).
        shared: their one name for the embeddings of both sides, of models with a decoder.
        head_act: activation between the two layers of their heads on the first token; "none": one layer.
        pooled: the parts whose first layer is the pooler of the body.
        sniff: fields of ours that only the tensors tell.
        tables: tensors of theirs that ours compute.
        from_pad: their positions begin in the row behind the id of padding; the key map is for padding of
            id 1.
    """

    name: str
    model_types: tuple[str, ...]
    prefix: str
    rows: Rows
    sizes: tuple[Size, ...]
    fixed: Mapping[str, Any]
    classes: Mapping[str, str]
    written: Mapping[str, Any] = field(default_factory=dict)
    required: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ignored: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    write: Callable[[ModelConfig], dict[str, Any]] | None = None
    shared: str | None = None
    head_act: str = "tanh"
    pooled: frozenset[str] = frozenset()
    sniff: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None
    tables: Callable[[ModelConfig], dict[str, Any]] | None = None
    from_pad: bool = False

    def parts_of(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The heads of the model that a config.json describes.

        Raises:
            CheckpointError: the class is unknown.
        """
        names = values.get("architectures") or [self.classes[""]]
        if names[0] in self.parts:
            return self.parts[names[0]]
        for end, parts in PARTS.items():
            if names[0].endswith(end):
                self._check_head(names[0], parts)
                return parts
        raise CheckpointError(
            f"the class {names[0]} in config.json is unknown; known are classes that end in "
            f"{', '.join(PARTS)}."
        )

    def _check_head(self, name: str, parts: tuple[str, ...]) -> None:
        """Raise `CheckpointError` for a class with a downstream head that has no rows."""
        heads = set(parts) & set(DOWNSTREAM)
        if heads and not any(entry.part in heads for entry in self.rows):
            raise CheckpointError(
                f"the class {name} in config.json has a head that is not read here; of {self.name} "
                f"{', '.join(self.classes.values())} are: fine-tune from one of them."
            )

    def model_config(self, values: Mapping[str, Any], source: str) -> ModelConfig:
        """Our configuration for a config.json.

        Raises:
            CheckpointError: it asks for something that this family of ours does not compute.
        """
        for name, allowed in self.required.items():
            if name in values and values[name] not in allowed:
                expected = " or ".join(str(value) for value in allowed)
                raise CheckpointError(
                    f"{source}: {name} is {values[name]}, which is not supported for {self.name}; "
                    f"expected {expected}."
                )
        parts = self.parts_of(values)
        ours: dict[str, Any] = dict(self.fixed)
        for size in self.sizes:
            value = values.get(size.theirs)
            value = size.default if value is None else value
            ours[size.ours] = activation_of(value, source) if size.ours == "hidden_act" else value
        targets = tuple(part for part in parts if part in ("mlm", "sp", "lm"))
        ours["target"] = targets or tuple(self.fixed["target"])
        ours["tie_weights"] = bool(values.get("tie_word_embeddings", True))
        if "cls" in self.classes:
            ours["head_act"] = self.head_act
        if set(parts) & set(DOWNSTREAM):
            labels = label_map(values)
            ours["labels_num"] = len(labels) if labels else values.get("num_labels", 2)
        if self.read is not None:
            ours.update(self.read(values))
        return ModelConfig(**ours)

    def config_json(self, config: ModelConfig, part: str) -> dict[str, Any]:
        """config.json for a model of ours with the head `part`, but for the sizes of its tables."""
        values: dict[str, Any] = {
            "architectures": [self.classes[part]],
            "model_type": self.model_types[0],
            **self.written,
        }
        for size in self.sizes:
            value = getattr(config, size.ours)
            values[size.theirs] = ACTIVATIONS[value][0] if size.ours == "hidden_act" else value
        if self.write is not None:
            values.update(self.write(config))
        return values


def activation_of(name: str, source: str) -> str:
    """Our name of an activation of theirs.

    Raises:
        CheckpointError: we have no such function.
    """
    for ours, theirs in ACTIVATIONS.items():
        if name in theirs:
            return ours
    known = ", ".join(name for names in ACTIVATIONS.values() for name in names)
    raise CheckpointError(f"{source}: the activation '{name}' is unknown; known are {known}.")


def label_map(values: Mapping[str, Any]) -> dict[str, int] | None:
    """label → id of a config.json, in the order of the ids."""
    table = values.get("id2label")
    if not table:
        return None
    return {str(label): int(number) for number, label in sorted(table.items(), key=lambda item: int(item[0]))}
