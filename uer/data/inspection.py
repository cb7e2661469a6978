"""What is inside a dataset file, for `scripts/inspect_dataset.py`."""

from __future__ import annotations

import json
import os

import numpy as np

from uer.config.inspect_data import InspectDatasetOptions
from uer.data.batch import IGNORE, Batch
from uer.data.histogram import histogram
from uer.data.objectives.base import TokenIds
from uer.data.order import BatchOrder
from uer.data.pretrain_data import objective_of
from uer.data.random import generator
from uer.data.store import Store
from uer.tokenizers.base import Tokenizer

MOST = 1_000_000  # instances whose lengths are looked at
PLACES = ("pert",)  # labels that are places, not tokens
STEPS = 200  # batches whose padding is estimated


def inspect_dataset(
    store: Store,
    options: InspectDatasetOptions,
    tokenizer: Tokenizer | None = None,
    target_tokenizer: Tokenizer | None = None,
) -> list[str]:
    """Lines that describe a dataset: what made it, what it holds, samples, lengths, the padding of batches.

    Args:
        tokenizer, target_tokenizer: to show tokens instead of ids.

    Raises:
        DataError: `options.verify`, and the file is damaged.
    """
    lines = [*_header(store), *_arrays(store)]
    if options.verify:
        store.verify()
        lines.append("checksums: all right")
    tokens = TokenIds.from_json(store.header["tokenizer"])
    if tokenizer is not None and tokenizer.fingerprint() != tokens.fingerprint:
        lines.append(
            "note: the dataset was made with another tokenizer than the one given; tokens may be wrong"
        )
    objective = objective_of(store)
    count = min(options.samples, len(store))
    if count:
        ids = np.linspace(0, len(store) - 1, count).astype(np.int64)
        batch = objective.batch(store, ids, generator(options.seed, "inspect"))
        for row in range(count):
            lines += ["", f"instance {ids[row]:,}"]
            for form in _forms(batch):
                lines += [
                    f"  {line}" for line in _sample(form, row, tokenizer, target_tokenizer or tokenizer)
                ]
    looked_at = slice(0, MOST)
    lengths = np.asarray(objective.lengths(store, looked_at)).astype(np.int64)
    note = "" if len(store) <= MOST else f" (of the first {MOST:,} instances)"
    lines += [
        "",
        *histogram(lengths, f"tokens of an instance{note}"),
        "",
        *_padding(lengths, options.batch_size),
    ]
    return lines


def _header(store: Store) -> list[str]:
    header = store.header
    lines = [
        f"{store.path}: {len(store):,} instances of --data_processor {store.objective}, "
        f"{os.path.getsize(store.path):,} bytes, written by version {header['program']}",
        f"options: {json.dumps(header['options'])}",
        "masks: " + (json.dumps(header["masking"]) if header["masking"] else "none in the dataset"),
    ]
    for side in ("tokenizer", "target_tokenizer"):
        if header[side] is not None:
            tokens = TokenIds.from_json(header[side])
            lines.append(
                f"{side}: {tokens.name}, {tokens.vocab_size:,} tokens, fingerprint {tokens.fingerprint[:12]}"
            )
    lines.append(
        "counts: " + ", ".join(f"{count:,} {name}" for name, count in header["counts"].items() if count)
    )
    for source in header["sources"]:
        lines.append(
            f"source: {source['name']}, {source['bytes']:,} bytes, {source['instances']:,} instances"
        )
    for part in header["mixture"] or ():
        lines.append(f"share: {part['share']:.1%} from instance {part['first']:,} on ({part['instances']:,})")
    return lines


def _arrays(store: Store) -> list[str]:
    return [
        f"array: {name}, {len(store[name]):,} × {column.dtype[1:]}"
        + (f", places in {column.refers}" if column.refers else "")
        for name, column in store.columns.items()
    ]


def _forms(batch: Batch) -> list[Batch]:
    """One batch for each of the rows that belong together."""
    if batch.inputs["src"].ndim == 2:
        return [batch]
    return [
        Batch(*({name: x[:, form] for name, x in part.items()} for part in (batch.inputs, batch.labels)), {})
        for form in range(batch.inputs["src"].shape[1])
    ]


def _sample(
    batch: Batch, row: int, tokenizer: Tokenizer | None, target_tokenizer: Tokenizer | None
) -> list[str]:
    """One row: its tokens, hidden ones as `[seen→hidden]`, and its other labels."""
    inputs, labels = batch.inputs, batch.labels
    size = int((inputs["seg"][row] > 0).sum())
    src = _words(inputs["src"][row, :size], tokenizer)
    if "mlm" in labels:
        wanted = labels["mlm"][row, :size]
        hidden = _words(np.where(wanted == IGNORE, 0, wanted), tokenizer)
        src = [
            word if label == IGNORE else f"[{word}→{other}]"
            for word, label, other in zip(src, wanted.tolist(), hidden)
        ]
    seg = inputs["seg"][row, :size]
    lines = ["src: " + " ".join(src)]
    if (seg == 2).any():
        lines.append(
            f"seg: {int((seg == 1).sum())} tokens of the first text, {int((seg == 2).sum())} of the second"
        )
    if "doc" in inputs:
        lines.append("documents: " + " ".join(map(str, np.bincount(inputs["doc"][row, :size])[1:].tolist())))
    for name, values in labels.items():
        if name == "mlm" or (name == "cls" and "doc" in inputs):
            continue
        if values.ndim == 1:
            lines.append(f"{name}: {int(values[row])}")
            continue
        said = values[row][values[row] != IGNORE]
        if name == "polarity":
            lines.append(f"{name}: " + " ".join("positive" if sign else "negative" for sign in said.tolist()))
            continue
        if name in PLACES:
            wanted = np.flatnonzero(values[row] != IGNORE)
            lines.append(f"{name}: " + " ".join(f"{place}→{now}" for place, now in zip(wanted, said)))
            continue
        lines.append(
            f"{name}: " + " ".join(_words(said, target_tokenizer if "tgt_in" in inputs else tokenizer))
        )
    return lines


def _words(ids: np.ndarray, tokenizer: Tokenizer | None) -> list[str]:
    return (
        list(map(str, ids.tolist()))
        if tokenizer is None
        else list(tokenizer.convert_ids_to_tokens(ids.tolist()))
    )


def _padding(lengths: np.ndarray, batch_size: int) -> list[str]:
    """How much of the batches will be padding, in random order and grouped by length."""
    if len(lengths) < batch_size:
        return [f"padding: unknown, since a batch of {batch_size} takes more instances than there are"]
    out = []
    for name, grouped in (("in random order", None), ("grouped by length", lengths)):
        order = BatchOrder(len(lengths), batch_size, lengths=grouped)
        batches = [lengths[order.batch(step)] for step in range(STEPS)]
        real = sum(int(batch.sum()) for batch in batches)
        grid = sum(int(batch.max()) * len(batch) for batch in batches)
        out.append(f"padding of batches of {batch_size} {name}: {1 - real / grid:.1%}")
    return out
