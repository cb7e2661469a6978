"""Small files and models for tests that run a script's `main` in this process."""

import json
import random
from pathlib import Path

from tests.loading import load_script

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = list("abcdefghijklmnopqrstuvwxyz")
TINY = {
    "emb_size": 32,
    "feedforward_size": 64,
    "hidden_size": 32,
    "hidden_act": "gelu",
    "heads_num": 2,
    "layers_num": 1,
    "max_seq_length": 32,
    "dropout": 0.0,
    "embedding": ["word", "pos", "seg"],
    "encoder": "transformer",
    "mask": "fully_visible",
}


def script(name: str):
    """A script's module, loaded from its file; its `main` takes words."""
    return load_script(f"{name}.py")


def words(**flags) -> list[str]:
    """Flags as typed: True stands alone, lists are spread, None is left out."""
    out = []
    for name, value in flags.items():
        if value is None or value is False:
            continue
        out.append(f"--{name}")
        if isinstance(value, (list, tuple)):
            out += [str(item) for item in value]
        elif value is not True:
            out.append(str(value))
    return out


class Folder:
    """Vocabulary, configuration and tables in a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.vocab = self.write("vocab.txt", "\n".join(SPECIAL + LETTERS) + "\n")
        self.config = self.write("config.json", json.dumps(TINY))

    def write(self, name: str, text: str) -> str:
        """A text file."""
        path = self.path / name
        path.write_text(text, encoding="utf-8")
        return str(path)

    def __truediv__(self, name: str) -> str:
        return str(self.path / name)

    def table(self, name: str, columns: list[str], rows: list[list]) -> str:
        """A table file."""
        lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows)]
        return self.write(name, "\n".join(lines) + "\n")

    def read(self, name: str) -> tuple[list[str], list[list[str]]]:
        """Header and rows of a table file."""
        lines = (self.path / name).read_text(encoding="utf-8").splitlines()
        return lines[0].split("\t"), [line.split("\t") for line in lines[1:]]


def sentence(rng: random.Random, low: int = 2, high: int = 12) -> str:
    """Random letters with blanks between them."""
    return " ".join(rng.choice(LETTERS) for _ in range(rng.randint(low, high)))


def finetune(name: str, folder: Folder, rows: str = "rows.tsv", **flags) -> int:
    """Run `finetune/NAME.py` with small settings; training and development file are the same."""
    settings = {
        "train_path": folder / rows,
        "dev_path": folder / rows,
        "output_model_path": folder / "model.bin",
        "vocab_path": folder.vocab,
        "config_path": folder.config,
        "learning_rate": 3e-3,
        "batch_size": 16,
        "epochs_num": 2,
        "precision": "fp32",
    }
    return script(f"finetune/{name}").main(words(**{**settings, **flags}))


def infer(name: str, folder: Folder, rows: str = "rows.tsv", **flags) -> int:
    """Run `inference/NAME_infer.py` on the model that `finetune` left; predictions go to out.tsv."""
    settings = {
        "load_model_path": folder / "model.bin",
        "test_path": folder / rows,
        "prediction_path": folder / "out.tsv",
    }
    return script(f"inference/{name}_infer").main(words(**{**settings, **flags}))


def pretrain(folder: Folder, rng: random.Random, **flags) -> str:
    """A masked language model after one step on random letters; its path. `flags`: of its tokenizer."""
    corpus = folder.write("corpus.txt", "".join(f"{sentence(rng)}\n" for _ in range(20)))
    common = {"vocab_path": folder.vocab, "dataset_path": folder / "d.pt", **flags}
    script("preprocess").main(words(corpus_path=corpus, data_processor="mlm", seq_length=16, **common))
    steps = {"total_steps": 1, "save_checkpoint_steps": 1}
    output = {"output_model_path": folder / "pre.bin", "config_path": folder.config, "target": "mlm"}
    script("pretrain").main(words(**common, **steps, **output))
    return folder / "pre.bin-1"
