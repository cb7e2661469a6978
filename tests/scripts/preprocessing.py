"""Text to pre-process, and what is made of it."""

import numpy as np

import preprocess
from uer.data.store import Store

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = [*SPECIAL, *map(chr, range(0x4E00, 0x4F00)), *"abcdef", "##a", "。"]


def sentences(count, seed=0, blank_every=4):
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        size = int(rng.integers(3, 60))
        lines.append("".join(map(chr, rng.integers(0x4E00, 0x4F00, size))) + "。")
        if number % blank_every == blank_every - 1:
            lines.append("")
    return "\n".join(lines)


def preprocess_to(name, corpus, vocab, *flags):
    preprocess.main(["--corpus_path", corpus, "--vocab_path", vocab, "--dataset_path", name, *flags])
    return Store(name)
