"""Small Hugging Face folders as their owners would save them: weights, config.json and vocabulary files,
nothing else.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tests.checkpoints.parity import draw
from tests.checkpoints.sizes import BERT, DISTILBERT, ROBERTA

WORDS = [
    "好",
    "坏",
    "喜",
    "欢",
    "不",
    "我",
    "很",
    "书",
    "这",
    "本",
    "a",
    "b",
    "c",
    "the",
    "good",
    "bad",
    "book",
    "very",
]
BRACKETS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
HUB_FOLDER = "/someone/tiny/resolve/main/"  # what the hub of the tests serves
TEXTS = ["我 很 喜 欢 这 本 书 the good book", "不 好 a very bad book"]
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "bos_token_id": 0, "eos_token_id": 0}
T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 0,
}
BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}
ALBERT = {**BERT, "embedding_size": 16}
ANGLES = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")


def word_pieces(folder: Path) -> int:
    """vocab.txt."""
    (folder / "vocab.txt").write_text("\n".join([*BRACKETS, *WORDS]) + "\n", encoding="utf-8")
    return len(BRACKETS) + len(WORDS)


def byte_level(special: tuple[str, ...]) -> Callable[[Path], int]:
    """vocab.json and merges.txt."""

    def write(folder: Path) -> int:
        from tokenizers import ByteLevelBPETokenizer

        tokenizer = ByteLevelBPETokenizer()
        tokenizer.train_from_iterator(TEXTS * 9, vocab_size=300, special_tokens=list(special))
        tokenizer.save_model(str(folder))
        return tokenizer.get_vocab_size()

    return write


@cache
def sentence_piece(**settings: Any) -> bytes:
    """A sentencepiece model of our few words."""
    import sentencepiece

    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 9),
        model_writer=out,
        vocab_size=45,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **settings,
    )
    return out.getvalue()


def pieces(further: int, name: str = "spiece.model", **settings: Any) -> Callable[[Path], int]:
    """A sentencepiece model; the family's table has so many further rows."""

    def write(folder: Path) -> int:
        import sentencepiece

        content = sentence_piece(**settings)
        (folder / name).write_bytes(content)
        return sentencepiece.SentencePieceProcessor(model_proto=content).vocab_size() + further

    return write


OF_T5 = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
OF_ALBERT = {
    "pad_id": 0,
    "unk_id": 1,
    "bos_id": -1,
    "eos_id": -1,
    "control_symbols": "[CLS],[SEP],[MASK]",
}
OF_XLMR = {"unk_id": 0, "bos_id": 1, "eos_id": 2}
# family → class prefix, sizes, what writes its vocabulary and says how many rows there are
FAMILIES: dict[str, tuple[str, dict[str, Any], Callable[[Path], int]]] = {
    "bert": ("Bert", BERT, word_pieces),
    "electra": ("Electra", ALBERT, word_pieces),
    "distilbert": ("DistilBert", DISTILBERT, word_pieces),
    "roberta": ("Roberta", ROBERTA, byte_level(ANGLES)),
    "xlm-roberta": ("XLMRoberta", ROBERTA, pieces(2, "sentencepiece.bpe.model", **OF_XLMR)),
    "albert": ("Albert", ALBERT, pieces(0, **OF_ALBERT)),
    "gpt2": ("GPT2", GPT2, byte_level(("<|endoftext|>",))),
    "t5": ("T5", T5, pieces(128, **OF_T5)),  # 100 sentinels, and 28 rows that no token takes
    "mt5": ("MT5", T5, pieces(12, **OF_T5)),
    "bart": ("Bart", BART, byte_level(ANGLES)),
    "pegasus": ("Pegasus", {**BART, "scale_embedding": True}, pieces(103, **OF_T5)),
}


def vocabulary(family: str, folder: Path) -> int:
    """Write the vocabulary of a family and what tells its kind; how many rows there are."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": family}))
    return FAMILIES[family][2](folder)


def make(family: str, head: str, folder: Path, *, seed: int = 1, **settings: Any) -> Any:
    """A folder of the class that ends in `head`, with random weights; returns their model."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    prefix, sizes, write = FAMILIES[family]
    folder.mkdir(parents=True, exist_ok=True)
    sizes = {**sizes, "vocab_size": write(folder), **settings}
    cls = getattr(transformers, f"{prefix}{head}")
    model = cls(cls.config_class(**sizes)).eval()
    draw(model, 0.15, seed)
    model.save_pretrained(folder)
    return model


def rows_of(path: Path, count: int = 24, seed: int = 3) -> Path:
    """A table of label and text: 好 or 差, whether the text has 好 or 坏 in it."""
    generator = torch.Generator().manual_seed(seed)
    lines = ["label\ttext_a"]
    for _ in range(count):
        words = [WORDS[2 + int(n)] for n in torch.randint(len(WORDS) - 2, (6,), generator=generator)]
        good = int(torch.randint(2, (1,), generator=generator))
        words[2] = "好" if good else "坏"
        lines.append(("好" if good else "差") + "\t" + " ".join(words))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
