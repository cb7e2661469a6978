"""A model as an ONNX graph: token and segment ids in, hidden states or the logits of its head out.

Shapes: B rows, L tokens, H hidden size; B and L are free in the graph.
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
from torch import Tensor, nn

from uer.config.model import ModelConfig
from uer.encoders.transformer import TransformerEncoder
from uer.errors import CheckpointError, ConfigError
from uer.layers.layout import real_tokens, row_positions
from uer.layers.masks import MASKS
from uer.models.model import Model
from uer.tasks.classifier import ClassifierModel
from uer.tasks.ner import NerModel
from uer.tasks.saved import open_encoder, open_model, settled
from uer.utils.files import atomic_write
from uer.utils.lazy import optional

TOLERANCE = 1e-4  # of the largest number of the output
HEADS = {"mlm": "mlm", "lm": "lm"}


class Graph(nn.Module):
    """What is written: the model on padded rows, without a branch that depends on the data.

    Rows are padded on the right; `seg` is 0 there.

    Args:
        model: with a transformer encoder and no decoder.
        head: "none", "mlm", "lm", "cls" or "tok".

    Raises:
        ConfigError: another encoder, or a decoder.
    """

    def __init__(self, model: Model, head: str) -> None:
        super().__init__()
        if not isinstance(model.encoder, TransformerEncoder) or model.decoder is not None:
            raise ConfigError(
                "--to onnx writes transformer encoders without a decoder, not "
                f"--encoder {model.config.encoder}{' with a decoder' if model.decoder is not None else ''}."
            )
        self.model, self.head = model, head

    def forward(self, src: Tensor, seg: Tensor) -> Tensor:
        """src, seg: int64 [B, L] → hidden states [B, L, H] or logits: [B, L, …] of tokens, [B, C] of rows."""
        model, real = self.model, real_tokens(seg)
        streams = {"word": src, "seg": seg, "pos": row_positions(seg)}
        hidden = model.embedding(streams)
        mask = MASKS[model.config.mask](seg, real, seg.shape[1], hidden.dtype)
        hidden = model.encoder(hidden, seg, mask=mask).hidden
        if self.head in HEADS:
            return model.target.get_submodule(self.head).logits(hidden)
        if self.head == "tok":
            return model.output_layer(hidden)
        return self._of_rows(hidden, real) if self.head == "cls" else hidden

    def _of_rows(self, hidden: Tensor, real: Tensor) -> Tensor:
        model, real = self.model, real.unsqueeze(2)
        if model.pooling == "first":
            vectors = hidden[:, 0]
        elif model.pooling == "mean":
            vectors = (hidden * real).sum(dim=1) / real.sum(dim=1)
        elif model.pooling == "max":
            vectors = hidden.masked_fill(~real, torch.finfo(hidden.dtype).min).amax(dim=1)
        else:
            last = (real.sum(dim=1, keepdim=True) - 1).expand(-1, 1, hidden.shape[2])
            vectors = hidden.gather(1, last)[:, 0]
        if model.output_layer_1 is not None:
            vectors = model.act(model.output_layer_1(vectors))
        return model.output_layer_2(vectors)


def open_graph(
    config: ModelConfig,
    path: str,
    vocab_size: int,
    *,
    head: str | None,
    task: str | None,
    labels_num: int | None,
) -> Graph:
    """The graph of a saved model.

    Args:
        head: as typed; None: the one that the model has.
        task: the downstream task that the file was fine-tuned for, or None.
        labels_num: of that task.

    Raises:
        ConfigError: a head that the model has not, or a task whose models are not written.
    """
    own = {"classifier": "cls", "ner": "tok"}.get(task or "")
    if task is not None and own is None:
        raise ConfigError(
            f"--to onnx does not write models of the task '{task}'; take --head none for the body."
        )
    own = own or next((name for name in HEADS if name in config.target), "none")
    head = head or own
    if head not in (own, "none"):
        raise ConfigError(f"--head is {head}, but {path} has {own}; leave it out, or take none for the body.")
    if head == "none":
        return Graph(open_encoder(config, path, vocab_size), head)
    if head in HEADS:
        return Graph(open_model(config.replace(target=(head,)), path, vocab_size), head)
    build: Any = ClassifierModel.build if head == "cls" else lambda *of: NerModel.build(*of, crf=False)
    return Graph(settled(build(config.replace(labels_num=labels_num), vocab_size), path), head)


def export_onnx(graph: Graph, path: str, *, vocab_size: int, length: int) -> float:
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
    src, seg = _sample(2, min(9, length), vocab_size)
    free = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=length)}
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            graph,
            (src, seg),
            dynamo=True,
            dynamic_shapes={"src": free, "seg": free},
            input_names=["src", "seg"],
            output_names=["hidden" if graph.head == "none" else "logits"],
            verbose=False,
        )
    content = program.model_proto.SerializeToString()
    difference = numeric_check(graph, content, vocab_size=vocab_size, length=length)
    if not difference <= TOLERANCE:
        raise CheckpointError(
            f"onnxruntime gives numbers that differ by {difference:.1e} of the largest from the model's; "
            f"{path} was not written."
        )
    with atomic_write(Path(path), "wb") as file:
        file.write(content)
    return difference


def numeric_check(graph: Graph, content: bytes, *, vocab_size: int, length: int) -> float:
    """The largest difference between onnxruntime and the model over rows of several sizes."""
    runtime = optional("onnxruntime", "onnx")
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = 0.0
    for rows, tokens in ((1, 5), (3, min(length, 17)), (2, min(length, 64))):
        src, seg = _sample(rows, min(tokens, length), vocab_size)
        (theirs,) = session.run(None, {"src": src.numpy(), "seg": seg.numpy()})
        with torch.no_grad():
            ours = graph(src, seg).numpy()
        if graph.head != "cls":
            ours, theirs = (values[seg.numpy() > 0] for values in (ours, theirs))
        worst = max(worst, float(np.abs(ours - theirs).max() / max(np.abs(ours).max(), 1e-12)))
    return worst


def _sample(rows: int, length: int, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Random ids, two texts in each row, the first row padded."""
    draw = torch.Generator().manual_seed(rows * length)
    src = torch.randint(vocab_size, (rows, length), generator=draw)
    seg = torch.ones(rows, length, dtype=torch.long)
    seg[:, length // 2 :] = 2
    seg[0, max(1, length - 2) :] = 0
    return src, seg


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
