"""A model as ONNX graphs: token and segment ids in, hidden states or the logits of its head out.

`uer.tasks.onnx_graphs` says what each graph reads and gives.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from uer.checkpoints import adapt_config
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.tasks.classifier import ClassifierModel
from uer.tasks.ner import NerModel
from uer.tasks.onnx_graphs import HEADS, DecoderGraph, Graph, StepGraph, TextGraph
from uer.tasks.saved import FLAG, open_encoder, open_model, settled
from uer.utils.files import atomic_write
from uer.utils.lazy import optional

TOLERANCE = 1e-4  # of the largest number of an output
# The head of each downstream task whose models are written; text2text is a language model again.
TASK_HEADS = {"classifier": "cls", "ner": "tok", "text2text": "lm"}
SIZES = ((1, 0, 5), (3, 0, 17), (2, 32, 32), (2, 6, 1))  # rows, tokens held, new tokens: what is compared


def open_graphs(
    config: ModelConfig,
    path: str,
    vocab_size: int,
    *,
    head: str | None,
    task: str | None,
    labels_num: int | None,
    with_past: bool = False,
) -> dict[str, Graph]:
    """The graphs of a saved model by the endings of their files: "" or, with a decoder, "encoder", "decoder".

    Args:
        head: as typed; None: the one that the model has; "none": the encoder's hidden states.
        task: the downstream task that the file was fine-tuned for, or None.
        labels_num: of that task.
        with_past: keys and values of earlier tokens are inputs and outputs.

    Raises:
        ConfigError: a head that the model has not, a task whose models are not written, no keys and values.
    """
    if task is not None and task not in TASK_HEADS and head != "none":
        raise ConfigError(
            f"--to onnx does not write models of the task '{task}'; take --head none for the body."
        )
    own = TASK_HEADS.get(task or "") or next((name for name in HEADS if name in config.target), "none")
    head = head or own
    if head not in (own, "none"):
        raise ConfigError(f"--head is {head}, but {path} has {own}; leave it out, or take none for the body.")
    if with_past and head != "lm":
        raise ConfigError(f"--with_past is for language models (lm), and the head is {head}; leave it out.")
    if head == "none":
        return _bodies(config, path, vocab_size)
    if head in HEADS:
        model = open_model(config.replace(target=(head,)), path, vocab_size)
        if config.decoder is not None:
            decoder = DecoderGraph(model, vocab_size, with_past=with_past)
            return {"encoder": TextGraph(model, "none", vocab_size), "decoder": decoder}
        return {"": StepGraph(model, vocab_size) if with_past else TextGraph(model, head, vocab_size)}
    build: Any = ClassifierModel.build if head == "cls" else lambda *of: NerModel.build(*of, crf=False)
    model = settled(build(config.replace(labels_num=labels_num), vocab_size), path)
    return {"": TextGraph(model, head, vocab_size)}


def _bodies(config: ModelConfig, path: str, vocab_size: int) -> dict[str, Graph]:
    """The encoder, or those of a dual model that differ."""
    config = adapt_config(config, path, FLAG)
    numbers = (None,) if config.encoder != "dual" else (0,) if config.tie_weights else (0, 1)
    graphs: dict[str, Graph] = {}
    for number in numbers:
        body = open_encoder(config, path, vocab_size, dual_stream=number)
        graphs[f"stream_{number}" if len(numbers) > 1 else ""] = TextGraph(body, "none", vocab_size)
    return graphs


def graph_path(path: str, ending: str) -> str:
    """Where the graph of an ending goes: `t5.onnx` → `t5.encoder.onnx`."""
    file = Path(path)
    return str(file.with_name(f"{file.stem}.{ending}{file.suffix}")) if ending else path


def export_onnx(graph: Graph, path: str, *, length: int) -> float:
    """Write the graph and compare it, read back by onnxruntime, with the model.

    Args:
        length: most tokens of a row.

    Returns:
        the largest difference, relative to the largest number.

    Raises:
        CheckpointError: it is more than `TOLERANCE`.
        EnvironmentFault: a package of the extra `onnx` is missing.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        optional(package, "onnx")
    graph = graph.cpu().eval()
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            tuple(graph.sample(2, min(5, length // 2), min(4, length - length // 2)).values()),
            dynamo=True,
            dynamic_shapes=graph.free(length),
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            verbose=False,
        )
    content = program.model_proto.SerializeToString()
    difference = numeric_check(graph, content, length=length)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"onnxruntime gives numbers that differ by {difference:.1e} of the largest from the model's; "
            f"{path} was not written."
        )
    with atomic_write(Path(path), "wb") as file:
        file.write(content)
    return difference


def numeric_check(graph: Graph, content: bytes, *, length: int) -> float:
    """The largest difference between onnxruntime and the model over rows of several sizes."""
    runtime = optional("onnxruntime", "onnx")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows, held, new in SIZES:
        given = graph.sample(rows, min(held, length // 2), min(new, length - length // 2))
        theirs = session.run(None, {name: values.numpy() for name, values in given.items()})
        with torch.no_grad():
            ours = graph(*given.values())
        ours = [x.numpy() for x in (ours if isinstance(ours, tuple) else (ours,))]
        counts = graph.counts(given)
        if counts is not None:
            ours[0], theirs[0] = ours[0][counts.numpy()], theirs[0][counts.numpy()]
        for one, other in zip(ours, theirs, strict=True):
            worst = max(worst, float(np.abs(one - other).max() / max(np.abs(one).max(), 1e-12)))
    return worst


@contextlib.contextmanager
def _quiet() -> Any:
    """The exporter's own remarks are for its developers."""
    noisy = logging.getLogger("torch.onnx")
    level = noisy.level
    noisy.setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            noisy.setLevel(level)
