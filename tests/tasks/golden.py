"""UER-py's own numbers for downstream tasks, as test material."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from uer.checkpoints import canonical
from uer.config.model import ModelConfig
from uer.opts.dialects import translate
from uer.tokenizers import build_tokenizer


class Golden:
    """One case of `golden/uer-tasks`: facts, tensors, configuration, tokenizer."""

    def __init__(self, shared: Path, case: str, folder: Path) -> None:
        path = shared / "golden" / "uer-tasks" / case
        self.facts = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        self.tensors = load_file(path.with_suffix(".safetensors"))
        self.vocab = folder / "vocab.txt"
        self.vocab.write_text("\n".join(self.facts["vocab"]) + "\n", encoding="utf-8")
        self.folder = folder

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.tensors[name]

    @property
    def state(self) -> dict[str, torch.Tensor]:
        """The state dict in UER's names of that version."""
        return {name[6:]: x for name, x in self.tensors.items() if name.startswith("state.")}

    def config(self, **changes) -> ModelConfig:
        """The model, with UER's layer norm."""
        values = translate(dict(self.facts["config"]), "golden")
        return ModelConfig.pick({**values, "layernorm": "uer", **changes})

    def tokenizer(self, name: str = "char"):
        """A tokenizer on the case's vocabulary."""
        return build_tokenizer(name, vocab_path=self.vocab)

    def tsv(self, key: str = "rows", name: str = "rows.tsv") -> Path:
        """The rows as a table file."""
        rows = self.facts[key]
        lines = [rows["columns"], *rows["data"]]
        path = self.folder / name
        path.write_text("".join("\t".join(map(str, line)) + "\n" for line in lines), encoding="utf-8")
        return path

    def load(self, model: torch.nn.Module) -> torch.nn.Module:
        """Fill a model with the case's weights, every name accounted for."""
        model.load_state_dict(canonical(self.state, model.state_dict().keys()).state)
        return model.eval()


def tensors(arrays: dict) -> dict[str, torch.Tensor]:
    """NumPy arrays as tensors."""
    return {name: torch.from_numpy(x) for name, x in arrays.items()}


def close(ours: torch.Tensor, theirs: torch.Tensor, atol: float = 1e-5, rtol: float = 1e-5) -> None:
    """Equal within the tolerance of the golden files."""
    torch.testing.assert_close(ours.float().reshape(theirs.shape), theirs, atol=atol, rtol=rtol)
