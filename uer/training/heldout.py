"""What a model says of text that it is not trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from uer.data.batch import Batch
from uer.training.precision import Precision
from uer.training.report import Meter, Sums, total_loss
from uer.training.windows import to_tensors

SEED = 7  # of what is drawn while a model is evaluated


@torch.no_grad()  # what FSDP puts together in inference mode cannot be trained
def evaluate(
    model: nn.Module, batches: Iterator[Batch], *, precision: Precision, device: torch.device
) -> dict[str, Sums]:
    """Terms over all batches, without dropout; the model stays in the mode it was in.

    What a generator draws is the same each time, and torch's generator is left as it was.
    """
    training, meter = model.training, Meter()
    model.eval()
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(SEED)
        for batch in batches:
            converted = to_tensors(batch).to(device)
            with precision.autocast():
                terms = model(converted.inputs, converted.labels)
            meter.add(terms, converted.positions, converted.tokens)
    model.train(training)
    return meter.sums()


def held_out_line(step: int, terms: dict[str, Sums]) -> str:
    """One line: the loss, and loss, perplexity and accuracy of each term."""
    loss = total_loss(terms)
    parts = [
        f"{name}: loss {sums.loss:.3f}"
        + (f", perplexity {perplexity(sums.loss):.2f}, acc {sums.accuracy:.3f}" if sums.scored else "")
        for name, sums in terms.items()
    ]
    return f"Held-out text after {step} steps: loss {loss:.3f} ({'; '.join(parts)})"


def perplexity(loss: float) -> float:
    """e^loss, infinite where that is too much for a float."""
    return float(torch.exp(torch.tensor(loss, dtype=torch.float64)))


def held_out_record(step: int, terms: dict[str, Sums]) -> dict[str, Any]:
    """One line of the metrics file."""
    record: dict[str, Any] = {"step": step, "eval_loss": total_loss(terms)}
    for name, sums in terms.items():
        record[f"eval_loss_{name}"] = sums.loss
        if sums.scored:
            record[f"eval_acc_{name}"] = sums.accuracy
    return record
