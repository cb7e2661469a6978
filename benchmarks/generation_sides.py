"""What benchmarks/generation.py measures: both programs, the memory, what rounding costs a trained model."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import REPOSITORY, real_data

LM_CONFIG = REPOSITORY / "models" / "gpt2" / "distil_config.json"
BERT_CONFIG = REPOSITORY / "models" / "bert" / "medium_config.json"
REVIEWS = 512  # texts made into vectors
TRAINED = {"hidden_size": 128, "emb_size": 128, "feedforward_size": 512, "heads_num": 4, "layers_num": 4}
STEPS, HELD_OUT = 300, 150  # of the model whose perplexity is compared; the last documents are left to score


def script(name: str, **flags: object) -> str:
    """Run a script of ours in a process of its own; what it printed."""
    words = [sys.executable, str(REPOSITORY / name)]
    for flag, value in flags.items():
        words += [f"--{flag}", *(map(str, value) if isinstance(value, (list, tuple)) else [str(value)])]
    done = subprocess.run([word for word in words if word != "True"], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}\n{done.stderr}")
    return done.stdout


def vocabulary() -> Path:
    """Google's Chinese vocabulary."""
    return real_data() / "data" / "models" / "google_zh_vocab.txt"


def write_models(folder: Path) -> tuple[Any, Any]:
    """`lm.bin` and `bert.bin` with random weights, a prompt and reviews; our language model and tokenizer."""
    import torch

    from uer.checkpoints import write_state
    from uer.config.model import ModelConfig
    from uer.models.build import build_model
    from uer.models.initialize import initialize
    from uer.tokenizers import build_tokenizer

    tokenizer = build_tokenizer("bert", vocab_path=vocabulary())
    for path, name in ((BERT_CONFIG, "bert.bin"), (LM_CONFIG, "lm.bin")):
        config = ModelConfig.pick(json.loads(path.read_text()))
        torch.manual_seed(0)
        model = build_model(config, len(tokenizer))
        initialize(model)
        write_state(folder / name, model.state_dict(), config=config, tokenizer=tokenizer)
    (folder / "prompt.txt").write_text("今天天气\n", encoding="utf-8")
    reviews = (REPOSITORY / "corpora" / "book_review.txt").read_text(encoding="utf-8").splitlines()
    (folder / "reviews.txt").write_text("\n".join(reviews[:REVIEWS]) + "\n", encoding="utf-8")
    return model.eval(), tokenizer


def whole_command(folder: Path, tokens: int, precision: str) -> float:
    """Seconds of one run of scripts/generate_lm.py, start-up included."""
    start = time.perf_counter()
    script(
        "scripts/generate_lm.py",
        load_model_path=folder / "lm.bin",
        test_path=folder / "prompt.txt",
        prediction_path=folder / "out.txt",
        seq_length=tokens,
        precision=precision,
        seed=1,
    )
    return time.perf_counter() - start


def our_rate(model: Any, tokenizer: Any, rows: int, tokens: int) -> float:
    """New tokens a second."""
    from uer.config.generation import DecodingOptions
    from uer.generation.generate import Generator

    options = DecodingOptions(top_k=1, max_new_tokens=tokens)
    generator = Generator(model, tokenizer, options, length=tokens + 8)
    start = time.perf_counter()
    texts = list(generator([[tokenizer.cls_id, 100 + row] for row in range(rows)]))
    return sum(len(text.ids) for (text,) in texts) / (time.perf_counter() - start)


def their_rate(model: Any, rows: int, tokens: int) -> float:
    """New tokens a second of `transformers`."""
    import torch

    ids = torch.arange(100, 100 + 2 * rows).view(rows, 2)
    start = time.perf_counter()
    with torch.inference_mode():
        model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, min_new_tokens=tokens,
                       max_new_tokens=tokens, pad_token_id=0, eos_token_id=None)  # fmt: skip
    return rows * tokens / (time.perf_counter() - start)


def bandwidth() -> float:
    """Gigabytes a second that a product of a large fp32 matrix and a vector reads: the limit of one text."""
    import torch

    weights, x, best = [torch.ones(4096, 4096) for _ in range(8)], torch.ones(4096), float("inf")
    for _ in range(8):
        start = time.perf_counter()
        for weight in weights:
            weight @ x
        best = min(best, time.perf_counter() - start)
    return 8 * 4096 * 4096 * 4 / best / 1e9


def vectors_rate(folder: Path, who: str) -> float:
    """Texts a second that become vectors: our script, or a loop over `transformers`, start-up included."""
    start = time.perf_counter()
    if who == "ours":
        script(
            "scripts/extract_features.py",
            load_model_path=folder / "bert.bin",
            test_path=folder / "reviews.txt",
            prediction_path=folder / "vectors.npy",
            pooling="mean",
            batch_size=32,
        )
    else:
        words = [sys.executable, __file__, str(folder), str(vocabulary())]
        subprocess.run(words, check=True, capture_output=True)
    return REVIEWS / (time.perf_counter() - start)


def their_vectors(folder: Path, vocab_path: Path) -> None:
    """What a user of `transformers` writes: batches of 32 in the order of the file, padded, the mean."""
    import numpy as np
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    values = json.loads(BERT_CONFIG.read_text())
    size = {"hidden_size": values["hidden_size"], "num_hidden_layers": values["layers_num"]}
    size |= {"num_attention_heads": values["heads_num"], "intermediate_size": values["feedforward_size"]}
    tokenizer = BertTokenizer(str(vocab_path))
    model = BertModel(BertConfig(vocab_size=len(tokenizer), **size), add_pooling_layer=False).eval()
    lines, vectors = (folder / "reviews.txt").read_text(encoding="utf-8").splitlines(), []
    with torch.inference_mode():
        for first in range(0, len(lines), 32):
            given = tokenizer(
                lines[first : first + 32], padding=True, truncation=True, max_length=128, return_tensors="pt"
            )
            real = given["attention_mask"][..., None]
            hidden = model(**given).last_hidden_state * real
            vectors.append((hidden.sum(dim=1) / real.sum(dim=1)).numpy())
    np.save(folder / "their_vectors.npy", np.concatenate(vectors))


def train(folder: Path, steps: int = STEPS) -> None:
    """`trained.bin`: a small language model that has read real text, and `held_out.txt` that it has not."""
    corpus = real_data() / "data" / "corpora" / "CLUECorpusSmall_sampled.txt"
    lines = corpus.read_text(encoding="utf-8").splitlines(keepends=True)
    (folder / "read.txt").write_text("".join(lines[:-HELD_OUT]), encoding="utf-8")
    (folder / "held_out.txt").write_text("".join(lines[-HELD_OUT:]), encoding="utf-8")
    config = {**json.loads(LM_CONFIG.read_text()), **TRAINED, "dropout": 0.0}
    (folder / "small.json").write_text(json.dumps(config))
    common = {"vocab_path": vocabulary(), "dataset_path": folder / "lm.pt"}
    script("preprocess.py", corpus_path=folder / "read.txt", target="lm", seq_length=128, **common)
    script(
        "pretrain.py", config_path=folder / "small.json", output_model_path=folder / "trained.bin",
        total_steps=steps, save_checkpoint_steps=steps, batch_size=16, learning_rate=2e-3, **common,
    )  # fmt: skip
    (folder / f"trained.bin-{steps}").rename(folder / "trained.bin")
    (folder / f"trained.bin-{steps}.meta").rename(folder / "trained.bin.meta")


def perplexity(folder: Path, precision: str) -> float:
    """Of held-out text, under the trained model; the weights are those of `precision`."""
    if not (folder / "trained.bin").is_file():
        train(folder)
    said = script(
        "scripts/evaluate_lm.py",
        load_model_path=folder / "trained.bin",
        test_path=folder / "held_out.txt",
        seq_length=128,
        precision=precision,
    )
    return float(re.search(r"Perplexity: ([\d.]+)", said)[1])


class Bench:
    """The models, made when they are first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.tokenizer = write_models(folder)
        self._made: dict[tuple, Any] = {}

    def made(self, who: str, precision: str, rows: int) -> Any:
        """A model of one of the programs."""
        import torch

        from uer.generation.precision import ready

        key = (who, precision, rows if who == "ours" else 0)
        if key not in self._made and who == "ours":
            self._made[key] = ready(copy.deepcopy(self.model), precision, rows=rows)
        elif key not in self._made:
            from transformers import GPT2Config, GPT2LMHeadModel

            size = GPT2Config(vocab_size=len(self.tokenizer), n_layer=6, bos_token_id=None, eos_token_id=None)
            dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
            self._made[key] = GPT2LMHeadModel(size).eval().to(dtype)
        return self._made[key]

    def measure(self, key: dict) -> float:
        """One measurement; see `generation.jobs`."""
        kind = key["kind"]
        if kind == "command":
            return whole_command(self.folder, key["tokens"], key["precision"])
        if kind == "bandwidth":
            return bandwidth()
        if kind == "features":
            return vectors_rate(self.folder, key["who"])
        if kind == "perplexity":
            return perplexity(self.folder, key["precision"])
        model = self.made(key["who"], key["precision"], key["rows"])
        if key["who"] == "ours":
            return our_rate(model, self.tokenizer, key["rows"], key["tokens"])
        return their_rate(model, key["rows"], key["tokens"])


if __name__ == "__main__":
    their_vectors(Path(sys.argv[1]), Path(sys.argv[2]))
