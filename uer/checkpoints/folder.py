"""Folders of Hugging Face models: where they are, and what they say about themselves. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from uer.checkpoints.families import family_of
from uer.checkpoints.families.family import DOWNSTREAM, Family, label_map
from uer.checkpoints.families.recognise import DESCRIPTIONS, described
from uer.checkpoints.names import CONFIG, TOKENIZER_FILES, WEIGHTS
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError

HUB = "hf:"
# Keys of config.json about generation that the toolkit keeps.
GENERATION = (
    *("bos_token_id", "eos_token_id", "pad_token_id", "decoder_start_token_id"),
    *("forced_bos_token_id", "forced_eos_token_id"),
)
# A task of ours → their name for what its classifiers answer; without a name it is one label of several.
PROBLEMS = {"multi_label": "multi_label_classification", "regression": "regression"}
MODULES = "modules.json"  # of a sentence-BERT: the folders of its parts
POOLINGS = {
    "pooling_mode_cls_token": "first",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
}
SHORT = dict(zip(("cls", "mean", "max", "lasttoken"), POOLINGS))


@dataclass(frozen=True)
class Folder:
    """A model in Hugging Face's layout.

    Attributes:
        path: the folder.
        weights: the file of weights that was named, or the folder.
        values: its config.json.
        pooling: of a sentence-BERT, else None.
    """

    path: Path
    weights: Path
    values: Mapping[str, Any]
    pooling: str | None = None

    @property
    def source(self) -> str:
        """How messages call its configuration."""
        return str(self.path / CONFIG)

    @property
    def family(self) -> Family:
        """Its family; an unknown one is a `CheckpointError`."""
        return family_of(self.values, self.source)

    @property
    def parts(self) -> tuple[str, ...]:
        """The heads it has."""
        return self.family.parts_of(self.values)

    def config(self) -> ModelConfig:
        """Our configuration for it.

        Raises:
            CheckpointError: an unknown family, or a setting that is not supported.
        """
        family = self.family
        try:
            config = family.model_config(self.values, self.source)
        except (ConfigError, TypeError) as error:
            raise CheckpointError(f"{self.source} describes no model that can be built: {error}") from error
        if family.sniff is not None:
            from uer.checkpoints.io import read_state

            config = config.replace(**family.sniff(read_state(self.weights)))
        return config if self.pooling is None else config.replace(pooling=self.pooling)

    def labels(self) -> dict[str, int] | None:
        """label → id, of a classifier."""
        return label_map(self.values) if set(self.parts) & set(DOWNSTREAM) else None

    def _problem(self) -> str | None:
        """Their name for what a classifier answers; a single number is a regression."""
        if "cls" not in self.parts:
            return None
        alone = len(self.labels() or ()) == 1 or self.values.get("num_labels") == 1
        return self.values.get("problem_type") or ("regression" if alone else None)

    def extra(self) -> dict[str, Any]:
        """What else is worth keeping: the family, the ids that generation begins and ends with, and the task
        of a classifier that does not choose one of its labels.
        """
        kept = {name: self.values[name] for name in GENERATION if self.values.get(name) is not None}
        task = next((task for task, kind in PROBLEMS.items() if kind == self._problem()), None)
        if task is not None:
            kept["task"] = task
        # Their taggers read what stands around a text too; UER-py's do not.
        framed = {"special_tokens": True} if "tok" in self.parts else {}
        return {"family": self.family.name, **kept, **framed}

    def has_tokenizer(self) -> bool:
        """Whether files of a tokenizer lie beside the weights."""
        return any(
            (self.path / name).is_file() for name in TOKENIZER_FILES if name.startswith(("tok", "voc", "s"))
        )


def open_folder(path: str | Path) -> Folder | None:
    """The Hugging Face model at `path`: a folder, a file of weights inside one, or `hf:owner/name`; else
    None.

    Raises:
        CheckpointError: a sentence-BERT with modules that are not supported, or a damaged config.json.
        EnvironmentFault: the hub cannot be reached.
    """
    path = local(path)
    if path.is_file() and path.name in WEIGHTS:
        values = _model_config(path.parent)
        return None if values is None else Folder(path.parent, path, values)
    if not path.is_dir():
        return None
    if (path / MODULES).is_file():
        return _sentence_bert(path)
    values = _model_config(path)
    return None if values is None else Folder(path, path, values)


def local(path: str | Path) -> Path:
    """A path on this machine; `hf:owner/name` is fetched, and nothing else ever touches the network."""
    if not str(path).startswith(HUB):
        return Path(path)
    from uer.utils.hub import fetch_folder, fetch_if_there

    name = str(path)[len(HUB) :]
    folder = fetch_folder(name, CONFIG, (WEIGHTS,), (*TOKENIZER_FILES, MODULES))
    for _, part in _modules(folder) if (folder / MODULES).is_file() else ():
        if part:
            fetch_if_there(name, f"{part}/{CONFIG}")
    return folder


def _model_config(folder: Path) -> dict[str, Any] | None:
    """The config.json of a folder, if it has one of a model."""
    path = next((folder / name for name in DESCRIPTIONS if (folder / name).is_file()), None)
    if path is None:
        return None
    values = _json(path)
    return described(values, tensorflow_checkpoint(folder) is not None) if isinstance(values, dict) else None


def tensorflow_checkpoint(folder: Path) -> Path | None:
    """The TensorFlow checkpoint of a folder that has no other weights, named as TensorFlow does."""
    if any((folder / name).is_file() for name in WEIGHTS):
        return None
    return next((path.with_suffix("") for path in sorted(folder.glob("*.index"))), None)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged ({error}); copy or download it again.") from error


def _modules(folder: Path) -> list[tuple[str, str]]:
    """The kinds of the parts of a sentence-BERT, and where in the folder they lie.

    Raises:
        CheckpointError: the list is damaged, or names a place outside the folder.
    """
    source = folder / MODULES
    try:
        found = [(str(part["type"]).rpartition(".")[2], str(part["path"])) for part in _json(source)]
    except (TypeError, KeyError) as error:
        raise CheckpointError(f"{source} is no list of modules with type and path.") from error
    for _, part in found:
        if Path(part).is_absolute() or ".." in Path(part).parts:
            raise CheckpointError(f"{source} names '{part}', which lies outside the folder.")
    return found


def _sentence_bert(folder: Path) -> Folder:
    """A folder of sentence-transformers: a model, and how its hidden states become one vector."""
    modules = {kind: folder / part for kind, part in _modules(folder)}
    unknown = sorted(set(modules) - {"Transformer", "Pooling", "Normalize"})
    values = _model_config(modules["Transformer"]) if "Transformer" in modules else None
    if unknown or values is None:
        raise CheckpointError(
            f"{folder} is a sentence-transformers model of the modules {', '.join(modules)}; supported are "
            "Transformer, Pooling and Normalize."
        )
    pooling = "mean"
    if "Pooling" in modules:
        told = _json(modules["Pooling"] / CONFIG)
        modes = [mode for mode, on in told.items() if on is True and mode.startswith("pooling_mode")]
        if "pooling_mode" in told:  # newer files say it in one word
            modes = [SHORT.get(str(told["pooling_mode"]), str(told["pooling_mode"]))]
        if len(modes) != 1 or modes[0] not in POOLINGS:
            raise CheckpointError(
                f"{modules['Pooling']} pools by {', '.join(modes)}; supported is one of "
                f"{', '.join(POOLINGS)}."
            )
        pooling = POOLINGS[modes[0]]
    return Folder(modules["Transformer"], modules["Transformer"], values, pooling)
