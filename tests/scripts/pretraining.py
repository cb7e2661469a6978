"""Files to pre-train from, command lines, and what runs leave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

import preprocess
import pretrain
from uer.checkpoints import read_state
from uer.cli import run

SIZES = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2}
BERT = {
    **SIZES,
    **{"max_seq_length": 64, "dropout": 0.1, "hidden_act": "gelu", "embedding": ["word", "pos", "seg"]},
    **{"encoder": "transformer", "mask": "fully_visible", "target": ["mlm", "sp"], "tie_weights": True},
}
GPT2 = {
    **SIZES,
    **{"max_seq_length": 64, "dropout": 0.1, "hidden_act": "gelu_fast", "embedding": ["word", "pos"]},
    **{"remove_embedding_layernorm": True, "layernorm_positioning": "pre", "encoder": "transformer"},
    **{"mask": "causal", "target": ["lm"], "tie_weights": True},
}
CHARS = [chr(code) for code in range(0x4E00, 0x4E60)]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARS]


def corpus(labelled: bool = False) -> str:
    """Sentences in which a character follows by a rule; an empty line parts documents."""
    draw = np.random.default_rng(1)
    lines = []
    for number in range(240):
        start = int(draw.integers(0, 90))
        text = "".join(CHARS[(start + i * (number % 3 + 1)) % 96] for i in range(int(draw.integers(8, 24))))
        lines.append(f"{number % 2}\t{text}" if labelled else text)
        if number % 4 == 3 and not labelled:
            lines.append("")
    return "\n".join(lines) + "\n"


def make(folder: Path) -> None:
    """A vocabulary, configs and a dataset of each kind."""
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "other_vocab.txt").write_text("\n".join(WORDS[:-1]) + "\n典\n", encoding="utf-8")
    for name, text in (("corpus.txt", corpus()), ("labelled.txt", corpus(labelled=True))):
        (folder / name).write_text(text, encoding="utf-8")
    for name, config in (("bert.json", BERT), ("gpt2.json", GPT2)):
        (folder / name).write_text(json.dumps(config), encoding="utf-8")
    for name, flags in {
        "bert": ["--dynamic_masking"],
        "mlm": ["--dup_factor", "1"],
        "lm": [],
        "cls": ["--corpus_path", str(folder / "labelled.txt")],
    }.items():
        preprocess.main(
            [
                *("--corpus_path", str(folder / "corpus.txt"), "--vocab_path", str(folder / "vocab.txt")),
                *("--dataset_path", str(folder / f"{name}.pt"), "--seq_length", "32"),
                *("--data_processor", name, *flags),
            ]
        )


def words(*more: str, name: str = "bert", config: str = "bert.json", steps: int = 6) -> list[str]:
    """A command line; what comes later wins."""
    return [
        *("--dataset_path", f"{name}.pt", "--vocab_path", "vocab.txt", "--config_path", config),
        *("--output_model_path", "out.bin", "--total_steps", str(steps), "--batch_size", "8"),
        *("--report_steps", "2", "--save_checkpoint_steps", "4", "--learning_rate", "0.01"),
        *("--precision", "fp32", *more),
    ]


def same(one: str, other: str) -> bool:
    """Whether two checkpoints hold the same bits, optimiser state included."""
    pairs = [(read_state(one), read_state(other))]
    files = [Path(f"{name}.state") / "optimizer.safetensors" for name in (one, other)]
    pairs.append(tuple(read_state(file) for file in files))
    return all(a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a) for a, b in pairs)


def fails(capsys, *flags: str, **more) -> str:
    """The one line of a run that cannot work."""
    assert run(pretrain.main, words(*flags, **more)) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: ")
    return last
