"""Speed of generation: the whole command, and tokens a second beside `transformers`, on random weights.

    python3 benchmarks/generation.py [--tokens 512] [--threads 2]

The model is models/gpt2/distil_config.json with Google's Chinese vocabulary; each token reads 58 M weights.
The rows of both programs alternate, so that a busy machine slows both.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import REPOSITORY, machine, real_data, table

UER_SECONDS = {128: 8.1, 512: 80.7}  # UER-py 2024, whole command, on another machine of two cores


def build(folder: Path) -> tuple:
    """Our model with random weights, written to `folder` with its companion; the tokenizer."""
    import torch

    from uer.checkpoints import write_state
    from uer.config.model import ModelConfig
    from uer.models.build import build_model
    from uer.models.initialize import initialize
    from uer.tokenizers import build_tokenizer

    values = json.loads((REPOSITORY / "models/gpt2/distil_config.json").read_text())
    config = ModelConfig.pick(values)
    tokenizer = build_tokenizer("bert", vocab_path=real_data() / "data/models/google_zh_vocab.txt")
    torch.manual_seed(0)
    model = build_model(config, len(tokenizer))
    initialize(model)
    write_state(folder / "lm.bin", model.state_dict(), config=config, tokenizer=tokenizer)
    (folder / "prompt.txt").write_text("今天天气\n", encoding="utf-8")
    return model.eval(), tokenizer


def whole_command(folder: Path, tokens: int, precision: str) -> float:
    """Seconds of one run of scripts/generate_lm.py, start-up included."""
    words = [
        sys.executable,
        str(REPOSITORY / "scripts/generate_lm.py"),
        "--precision",
        precision,
        "--seed",
        "1",
    ]
    words += ["--load_model_path", folder / "lm.bin", "--test_path", folder / "prompt.txt"]
    words += ["--prediction_path", folder / "out.txt", "--seq_length", str(tokens)]
    start = time.perf_counter()
    subprocess.run(list(map(str, words)), check=True, capture_output=True)
    return time.perf_counter() - start


def our_rate(model: object, tokenizer: object, rows: int, tokens: int) -> float:
    """New tokens a second."""
    from uer.config.generation import DecodingOptions
    from uer.generation.generate import Generator

    options = DecodingOptions(top_k=1, max_new_tokens=tokens)
    generator = Generator(model, tokenizer, options, length=tokens + 8)
    start = time.perf_counter()
    texts = list(generator([[tokenizer.cls_id, 100 + row] for row in range(rows)]))
    return sum(len(text.ids) for (text,) in texts) / (time.perf_counter() - start)


def their_rate(model: object, rows: int, tokens: int) -> float:
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

    weights, x, best = [torch.randn(4096, 4096) for _ in range(8)], torch.randn(4096), float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for weight in weights:
            weight @ x
        best = min(best, time.perf_counter() - start)
    return 8 * 4096 * 4096 * 4 / best / 1e9


def rates(model: object, tokenizer: object, tokens: int, rounds: int = 3) -> list[tuple]:
    """Rows of the table: best of some alternating rounds."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    from uer.generation.precision import ready

    config = GPT2Config(vocab_size=len(tokenizer), n_layer=6, bos_token_id=None, eos_token_id=None)
    theirs = GPT2LMHeadModel(config).eval()
    lines, reach = [], bandwidth()
    for rows, length in ((1, tokens), (32, min(tokens, 64))):
        jobs = {
            ("transformers", "fp32"): theirs,
            ("transformers", "bf16"): copy.deepcopy(theirs).to(torch.bfloat16),
        }
        for precision in ("fp32", "bf16", "int8"):
            jobs["ours", precision] = ready(copy.deepcopy(model), precision, rows=rows)
        best = dict.fromkeys(jobs, 0.0)
        for _ in range(rounds):
            for (who, precision), job in jobs.items():
                rate = (
                    our_rate(job, tokenizer, rows, length) if who == "ours" else their_rate(job, rows, length)
                )
                best[who, precision] = max(best[who, precision], rate)
        read = 58.7e6  # weights that a step reads
        for (who, precision), rate in best.items():
            size = {"fp32": 4, "bf16": 2, "int8": 1}[precision]
            share = rate / rows * read * size / 1e9 / reach
            base = best["transformers", precision if precision != "int8" else "fp32"]
            lines.append((rows, who, precision, f"{rate:.0f}", f"{rate / base:.2f}", f"{share:.0%}"))
    return lines


def main() -> None:
    """Print two tables in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    print(machine())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, tokenizer = build(folder)
        lines = []
        for precision in ("fp32", "bf16", "int8"):
            for tokens in sorted({128, options.tokens}):
                seconds = min(whole_command(folder, tokens, precision) for _ in range(2))
                theirs = UER_SECONDS.get(tokens)
                lines.append(
                    (precision, tokens, f"{seconds:.1f}", f"{theirs / seconds:.1f}" if theirs else "–")
                )
        print(table(("precision", "tokens", "seconds, start-up included", "UER-py's time over ours"), lines))
        print()
        header = (
            "prompts",
            "program",
            "precision",
            "new tokens/s",
            "over transformers",
            "of the memory's bandwidth",
        )
        print(table(header, rates(model, tokenizer, options.tokens)))


if __name__ == "__main__":
    main()
