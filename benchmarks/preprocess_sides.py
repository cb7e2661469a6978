"""One figure of benchmarks/preprocess.py in a process of its own: a description in JSON comes from the
command line, a JSON object is printed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

BATCH = 10_000  # lines given to `tokenizers` at once
SECONDS = 3.0  # how long reading goes on


def ours(about: dict[str, Any]) -> dict[str, float]:
    """The engine's own way from bytes to ids: spans of the file, shared among processes."""
    from uer.data.decode import decode_lines
    from uer.data.sources import Source
    from uer.data.spans import read_span, spans
    from uer.data.workers import run_jobs
    from uer.tokenizers import build_tokenizer

    tokenizer, source = build_tokenizer(**about["files"]), Source.of(about["corpus"])

    def work(span: Any) -> int:
        lines = decode_lines(read_span(source, span), errors="strict", path=source.path)
        return len(tokenizer.encode_batch(lines.texts)[0])

    start = time.perf_counter()
    tokens = sum(done.result for done in run_jobs(work, spans([source], False), about["processes"]))
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def library(about: dict[str, Any]) -> dict[str, float]:
    """`tokenizers` with its own threads, the text already in memory as lines."""
    from uer.tokenizers import build_tokenizer
    from uer.tokenizers.pipelines import pipeline_of

    pipeline = pipeline_of(build_tokenizer(**about["files"]), framed=False)
    encode = pipeline.encode_batch_fast if about["fast"] else pipeline.encode_batch
    lines = Path(about["corpus"]).read_text(encoding="utf-8").split("\n")
    start, tokens = time.perf_counter(), 0
    for at in range(0, len(lines), BATCH):
        tokens += sum(map(len, encode(lines[at : at + BATCH], add_special_tokens=False)))
    return {"seconds": time.perf_counter() - start, "tokens": tokens}


def peer(about: dict[str, Any]) -> dict[str, float]:
    """A pipeline on `tokenizers`: the ids of every line, framed, written to a file."""
    from uer.tokenizers import build_tokenizer
    from uer.tokenizers.pipelines import pipeline_of

    tokenizer = build_tokenizer(**about["files"])
    pipeline, tokens = pipeline_of(tokenizer, framed=False), 0
    with open(about["corpus"], encoding="utf-8") as lines, open(about["out"], "wb") as file:
        while batch := [line for line, _ in zip(lines, range(BATCH))]:
            for encoding in pipeline.encode_batch_fast([line for line in batch if line.strip()]):
                ids = [tokenizer.cls_id, *encoding.ids, tokenizer.sep_id]
                file.write(np.array(ids, np.uint16).tobytes())
                tokens += len(ids)
    return {"tokens": tokens}


def limits(about: dict[str, Any]) -> dict[str, Any]:
    """How fast one process goes through the steps that any such tokenizer needs, and through all of ours."""
    from uer.data.decode import decode_lines
    from uer.tokenizers import build_tokenizer
    from uer.tokenizers.text import join

    data = Path(about["corpus"]).read_bytes()
    size = 1 << 18
    pieces = [data[at : at + size].decode("utf-8", "ignore").encode() for at in range(0, len(data), size)]
    table = np.arange(0x110000, dtype=np.int32)
    tokenizer = build_tokenizer(**about["files"])

    def lines(piece: bytes) -> list[str]:
        return decode_lines(piece, errors="strict", path="").texts

    def looked_up(piece: bytes) -> None:
        texts, block = lines(piece), []
        for text in texts:
            block.append(text)
            if len(block) == 150:
                table.take(join(block)[1])
                block.clear()

    steps: dict[str, Callable[[bytes], Any]] = {
        "copy in memory": bytearray,
        "UTF-8 decoded": lambda piece: piece.decode("utf-8"),
        "parted into lines": lines,
        "one look-up a character": looked_up,
        "tokenised": lambda piece: tokenizer.encode_batch(lines(piece)),
    }
    rates = {}
    for name, step in steps.items():
        start = time.perf_counter()
        for piece in pieces:
            step(piece)
        rates[name] = len(data) / 1e6 / (time.perf_counter() - start)
    return {"rates": rates}


def batches(about: dict[str, Any]) -> Iterator[Any]:
    """Batches of 32 rows of a dataset, without end."""
    from uer.config.preprocess import MaskingOptions
    from uer.data.pretrain_data import PretrainData
    from uer.data.store import Store

    masking = MaskingOptions(**about.get("flags", {}))
    data, step = PretrainData(Store(about["dataset"]), batch_size=32, masking=masking), 0
    while True:
        yield data.get(step)
        step += 1


def read(about: dict[str, Any]) -> dict[str, float]:
    """Real tokens a second that a loader gives."""
    source = batches(about)
    next(source)
    start, tokens = time.perf_counter(), 0
    while (seconds := time.perf_counter() - start) < SECONDS:
        tokens += int(np.count_nonzero(next(source).inputs["seg"]))
    return {"rate": tokens / seconds}


def learn(about: dict[str, Any]) -> dict[str, float]:
    """Real tokens a second from which BERT-base learns: forward, backward and update on all cores; the
    fastest of three steps."""
    import torch

    from uer.config.model import ModelConfig
    from uer.config.training import OptimizerOptions
    from uer.models.build import build_model
    from uer.models.initialize import initialize
    from uer.training.optimizers import build_optimizer
    from uer.training.precision import choose_precision

    config = ModelConfig.pick(json.loads(Path(about["config"]).read_text()))
    model = build_model(config, 21128)
    initialize(model)
    precision, _ = choose_precision("auto", torch.device("cpu"), config.hidden_size)
    optimizer, source, best = build_optimizer(model, OptimizerOptions()), batches(about), 0.0
    for _ in range(3):
        batch = next(source)
        inputs, labels = (
            {name: torch.from_numpy(rows) for name, rows in arrays.items()}
            for arrays in (batch.inputs, batch.labels)
        )
        start = time.perf_counter()
        with precision.autocast():
            terms = model(inputs, labels)
        sum(term.loss_sum / term.count for term in terms.values()).backward()
        optimizer.step()
        optimizer.zero_grad()
        best = max(best, np.count_nonzero(batch.inputs["seg"]) / (time.perf_counter() - start))
    return {"rate": best}


SIDES = {"ours": ours, "library": library, "peer": peer, "limits": limits, "read": read, "learn": learn}

if __name__ == "__main__":
    described = json.loads(sys.argv[1])
    print(json.dumps(SIDES[described["side"]](described)))
