"""Speed of generation and of feature extraction beside `transformers`, on random weights.

    python3 benchmarks/generation.py [--tokens 512] [--threads 2] [--seconds 600] [--rounds 3]

The language model is models/gpt2/distil_config.json with Google's Chinese vocabulary; each token reads 58 M
weights. Every measurement is written down at once (`--results`): a run that was stopped, or ran out of
`--seconds`, goes on where it was. The programs alternate, so that a busy machine slows both; the best of all
rounds counts. The tables come last.
"""

from __future__ import annotations

import argparse
import copy
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import REPOSITORY, machine, real_data, table

RESULTS = REPOSITORY / "benchmarks" / "results" / "generation.jsonl"
READ = 58.7e6  # weights that a step reads
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


def vectors_rate(folder: Path, who: str) -> float:
    """Texts a second, of 256 reviews made into vectors by a random models/bert/medium_config.json."""
    import torch

    from uer.config.model import ModelConfig
    from uer.models.build import build_body
    from uer.tasks.features import FeatureModel
    from uer.tasks.predict import in_order
    from uer.tasks.text import TextTask
    from uer.tokenizers import load_tokenizer
    from uer.training.precision import choose_precision

    tokenizer = load_tokenizer(folder / "lm.bin.meta" / "tokenizer")
    lines = (REPOSITORY / "corpora" / "book_review.txt").read_text(encoding="utf-8").splitlines()[:256]
    config = ModelConfig.pick(json.loads((REPOSITORY / "models/bert/medium_config.json").read_text()))
    if who == "ours":
        model = FeatureModel(build_body(config, len(tokenizer)), pooling="mean").eval()
        precision, _ = choose_precision("fp32", torch.device("cpu"), config.hidden_size)
        start = time.perf_counter()
        examples = TextTask(tokenizer, seq_length=128).encode([{"text_a": line} for line in lines])
        in_order(model, TextTask(tokenizer, seq_length=128), examples, batch_size=32, precision=precision)
        return len(lines) / (time.perf_counter() - start)
    from transformers import BertConfig, BertModel

    size = {"hidden_size": config.hidden_size, "num_hidden_layers": config.layers_num}
    size |= {"num_attention_heads": config.heads_num, "intermediate_size": config.feedforward_size}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), **size), add_pooling_layer=False).eval()
    start = time.perf_counter()
    with torch.inference_mode():
        for first in range(0, len(lines), 32):
            rows = [[tokenizer.cls_id, *tokenizer.encode(line)][:128] for line in lines[first : first + 32]]
            longest = max(map(len, rows))
            ids = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
            real = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
            hidden = model(ids, attention_mask=real).last_hidden_state * real[..., None]
            hidden.sum(dim=1) / real.sum(dim=1, keepdim=True)
    return len(lines) / (time.perf_counter() - start)


class Measurements:
    """What was measured so far, one JSON object a line: `kind`, further keys, `round`, `value`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        self.rows = [json.loads(line) for line in lines]

    def has(self, key: dict) -> bool:
        """Whether this was measured."""
        return any(all(row.get(name) == value for name, value in key.items()) for row in self.rows)

    def add(self, key: dict, value: float) -> None:
        """Write one down."""
        self.rows.append({**key, "value": value})
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps(self.rows[-1]) + "\n")
        print(" ".join(f"{name}={value}" for name, value in self.rows[-1].items()), flush=True)

    def best(self, choose: type[max] = max, **key: object) -> float | None:
        """The best value of all rounds, None when there is none."""
        values = [row["value"] for row in self.rows if all(row.get(name) == x for name, x in key.items())]
        return choose(values) if values else None


PRECISIONS = ("fp32", "bf16", "int8")


def jobs(tokens: int, rounds: int) -> Iterator[dict]:
    """The keys of all measurements, round after round, both programs in turn."""
    for number in range(rounds):
        for precision in PRECISIONS:
            for length in sorted({128, tokens}):
                yield {"kind": "command", "precision": precision, "tokens": length, "round": number}
        for rows, length in ((1, min(tokens, 128)), (32, min(tokens, 64))):
            for precision in PRECISIONS:
                for who in ("transformers", "ours"):
                    if (who, precision) != ("transformers", "int8"):
                        yield {"kind": "rate", "who": who, "precision": precision, "rows": rows,
                               "tokens": length, "round": number}  # fmt: skip
        for who in ("transformers", "ours"):
            yield {"kind": "features", "who": who, "round": number}
        yield {"kind": "bandwidth", "round": number}


class Bench:
    """The models, made when they are first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.model, self.tokenizer = build(folder)
        self._made: dict[tuple, object] = {}

    def made(self, who: str, precision: str, rows: int) -> object:
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
        """One measurement."""
        if key["kind"] == "command":
            return whole_command(self.folder, key["tokens"], key["precision"])
        if key["kind"] == "bandwidth":
            return bandwidth()
        if key["kind"] == "features":
            return vectors_rate(self.folder, key["who"])
        model = self.made(key["who"], key["precision"], key["rows"])
        if key["who"] == "ours":
            return our_rate(model, self.tokenizer, key["rows"], key["tokens"])
        return their_rate(model, key["rows"], key["tokens"])


def tables(found: Measurements, tokens: int) -> str:
    """Three tables in Markdown, of what was measured so far."""
    commands, rates, reach = [], [], found.best(kind="bandwidth")
    for precision in PRECISIONS:
        for length in sorted({128, tokens}):
            spent = found.best(min, kind="command", precision=precision, tokens=length)
            theirs = UER_SECONDS.get(length)
            if spent:
                ratio = f"{theirs / spent:.1f}" if theirs else "–"
                commands.append((precision, length, f"{spent:.1f}", ratio))
    for rows in (1, 32):
        for who in ("transformers", "ours"):
            for precision in PRECISIONS:
                rate = found.best(kind="rate", who=who, precision=precision, rows=rows)
                base = "bf16" if precision == "bf16" else "fp32"
                theirs = found.best(kind="rate", who="transformers", precision=base, rows=rows)
                if rate and theirs and reach:
                    size = {"fp32": 4, "bf16": 2, "int8": 1}[precision]
                    share = rate / rows * READ * size / 1e9 / reach
                    rates.append(
                        (rows, who, precision, f"{rate:.0f}", f"{rate / theirs:.2f}", f"{share:.0%}")
                    )
    vectors = [(who, found.best(kind="features", who=who)) for who in ("transformers", "ours")]
    limit = f"The memory gives {reach:.1f} GB/s to a product of a matrix and a vector." if reach else ""
    return "\n\n".join(
        [
            table(("precision", "tokens", "seconds, start-up included", "UER-py's time over ours"), commands),
            table(
                ("prompts", "program", "precision", "new tokens/s", "over transformers", "of the bandwidth"),
                rates,
            ),
            limit,
            table(("program", "texts/s"), [(who, f"{rate:.1f}") for who, rate in vectors if rate]),
        ]
    )


def main() -> None:
    """Measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=600, help="begin no measurement after so long")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    import torch

    torch.set_num_threads(options.threads)
    found, start = Measurements(options.results), time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        bench = None
        for key in jobs(options.tokens, options.rounds):
            if not found.has(key) and time.perf_counter() - start < options.seconds:
                bench = bench or Bench(Path(name))
                found.add(key, bench.measure(key))
    print(machine(), tables(found, options.tokens), sep="\n\n")


if __name__ == "__main__":
    main()
