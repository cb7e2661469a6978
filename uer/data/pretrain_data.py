"""The batches of pre-training: a dataset file, its objective, an order; each a function of (seed, step)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from uer.config.model import PARTNERS
from uer.config.preprocess import (
    DATA_PROCESSORS,
    PAIR_KINDS,
    TARGETS_CUT,
    TWO_TOKENIZERS,
    InstanceOptions,
    MaskingOptions,
)
from uer.data.batch import Batch
from uer.data.knowledge import knowledge_of
from uer.data.mixture import Mixture
from uer.data.objectives.base import MaskedObjective, Objective, TokenIds
from uer.data.order import BatchOrder
from uer.data.parts import make_objective
from uer.data.random import generator
from uer.data.store import Store
from uer.data.words import words_of
from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.utils.logging import logger

AGAIN = "make the right dataset with preprocess.py"  # ends errors about datasets


def objective_of(store: Store, masking: MaskingOptions | None = None) -> Objective:
    """The objective of a dataset.

    Args:
        masking: how tokens are hidden at batch time; of no use to a dataset that holds its masks.
    """
    header = store.header
    options = InstanceOptions.from_json(header["options"], str(store.path))
    if header["masking"] is not None:
        masking = MaskingOptions.from_json(header["masking"], str(store.path))
    second = header["target_tokenizer"]
    return make_objective(
        options,
        TokenIds.from_json(header["tokenizer"]),
        masking or MaskingOptions(),
        None if second is None else TokenIds.from_json(second),
    )


def check_dataset(
    store: Store,
    *,
    data_processor: str | None = None,
    targets: Sequence[str] | None = None,
    fingerprint: str | None = None,
    target_fingerprint: str | None = None,
    vocab_size: int | None = None,
    max_seq_length: int | None = None,
    sp_labels_num: int | None = None,
) -> None:
    """Hold a dataset against what the run expects of it; None expects nothing.

    Args:
        data_processor: as typed.
        targets: those of the model.
        fingerprint, vocab_size: those of the tokenizer in use.
        target_fingerprint: that of the target tokenizer, for objectives that have one.
        max_seq_length: positions of the model, when it has a limited number.
        sp_labels_num: classes of the sp target, when the model has it.

    Raises:
        DataError: it was made for something else; the message names both, and how to make the right one.
    """
    header = store.header
    if data_processor is not None and data_processor != store.objective:
        raise DataError(
            f"the dataset was made with --data_processor {store.objective}, and the run asks for "
            f"{data_processor}; {AGAIN} --data_processor {data_processor}, or train on this one by "
            f"--data_processor {store.objective} --target {' '.join(DATA_PROCESSORS[store.objective])}.",
            path=store.path,
        )
    made = DATA_PROCESSORS[store.objective]
    if targets is not None and _asked(targets) - set(made):
        raise DataError(
            f"a dataset of --data_processor {store.objective} has labels for --target {' '.join(made)}, not "
            f"for {' '.join(targets)}; {AGAIN}, or change --target.",
            path=store.path,
        )
    kinds = PAIR_KINDS.get(store.objective, 2)
    if sp_labels_num is not None and sp_labels_num < kinds:
        raise DataError(
            f"a dataset of --data_processor {store.objective} tells {kinds} kinds of pairs apart, and the sp "
            f"target {sp_labels_num}; give --sp_labels_num {kinds}.",
            path=store.path,
        )
    tokens = TokenIds.from_json(header["tokenizer"])
    if vocab_size is not None and vocab_size != tokens.vocab_size:
        raise DataError(
            f"the dataset was made with a vocabulary of {tokens.vocab_size:,} tokens, and this one has "
            f"{vocab_size:,}; give the vocabulary it was made with, or {AGAIN}.",
            path=store.path,
        )
    _check_tokenizer(store, tokens, fingerprint, "tokenizer", "vocabulary and tokenizer flags")
    if store.objective in TWO_TOKENIZERS:
        second = TokenIds.from_json(header["target_tokenizer"] or header["tokenizer"])
        flags = "--tgt_vocab_path and target tokenizer flags"
        _check_tokenizer(store, second, target_fingerprint, "target tokenizer", flags)
    if max_seq_length is not None:
        _check_lengths(store, max_seq_length)


def _asked(targets: Sequence[str]) -> set[str]:
    """The targets whose labels must be in the data: what learns from another model has none, but contrast
    asks for hidden tokens."""
    taught = {*PARTNERS["teacher"], "students"} - {"contrast"}
    return {"mlm" if name == "contrast" else name for name in targets if name not in taught}


def _check_lengths(store: Store, most: int) -> None:
    """No row is longer than the model has positions."""
    flags = ("seq_length", "tgt_seq_length") if store.objective in TARGETS_CUT else ("seq_length",)
    for flag in flags:
        length = store.header["options"][flag]
        if length > most:
            raise DataError(
                f"the dataset was made with --{flag} {length}, and the model has {most} positions "
                f"(--max_seq_length); {AGAIN} --{flag} {most}.",
                path=store.path,
            )


def _check_tokenizer(
    store: Store, made_with: TokenIds, fingerprint: str | None, what: str, flags: str
) -> None:
    """Refuse a tokenizer other than the one that a side of the dataset was made with."""
    if fingerprint is not None and fingerprint != made_with.fingerprint:
        raise DataError(
            f"the dataset was made with another {what} ({made_with.name}, fingerprint "
            f"{made_with.fingerprint[:12]}, not {fingerprint[:12]}); give the same {flags}, or make the "
            "right dataset with preprocess.py.",
            path=store.path,
        )


def _beside(store: Store, tokenizer: Tokenizer | None, objective: MaskedObjective) -> np.ndarray:
    """What is hidden together, of the dataset or of a file beside it."""
    if objective.beside == "knowledge":
        return knowledge_of(store, tokenizer, objective.masking.knowledge_path)
    if objective.beside == "word":
        return words_of(store, tokenizer)
    return store[objective.beside]


class PretrainData:
    """Batches of a dataset.

    Args:
        store: the dataset.
        batch_size: instances of a batch of one rank.
        seed: decides order, and masks that are drawn at batch time.
        rank, world_size: this process and how many there are.
        masking: how tokens are hidden at batch time (datasets made with `--dynamic_masking`).
        tokenizer: needed when whole words are to be hidden and the dataset lacks their borders.
        group_by_length: batches of instances of like length.
        taught: terms of the model that learn from another one (`ModelConfig.taught`); they have no labels of
            their own and count tokens.

    Attributes:
        objective: the dataset's objective.
        targets: the targets that its labels are for.

    Raises:
        DataError: fewer instances than one step takes.
    """

    def __init__(
        self,
        store: Store,
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        masking: MaskingOptions | None = None,
        tokenizer: Tokenizer | None = None,
        group_by_length: bool = False,
        taught: Sequence[str] = (),
    ) -> None:
        self.store, self.seed, self.rank = store, seed, rank
        self._taught = tuple(taught)
        self.objective = objective_of(store, masking)
        self._arrays = store.arrays
        masks = isinstance(self.objective, MaskedObjective)
        static = masks and self.objective.static
        if masks and not static and self.objective.beside:
            self._arrays[self.objective.beside] = _beside(store, tokenizer, self.objective)
        if masks and not static and tokenizer is not None:
            self.objective.know_similar(tokenizer)
        if static and masking is not None and masking != self.objective.masking:
            logger.warning(
                f"{store.path}: tokens were hidden by preprocess.py, so masking flags have no effect here; "
                "preprocess with --dynamic_masking to choose them now."
            )
        total = batch_size * world_size
        self.mixture = Mixture(
            store.header["mixture"] or [{"first": 0, "instances": len(store), "share": 1.0}]
        )
        if len(store) < total:
            raise DataError(
                f"the dataset has {len(store):,} instances and a step takes {total:,}; use a smaller "
                "--batch_size or more text.",
                path=store.path,
            )
        lengths = self.mixture.over(self.objective.lengths(store)) if group_by_length else None
        self.order = BatchOrder(
            len(self.mixture), total, seed=seed, rank=rank, world_size=world_size, lengths=lengths
        )

    @property
    def targets(self) -> tuple[str, ...]:
        """The targets that learn from these batches."""
        return self.objective.targets

    def get(self, step: int) -> Batch:
        """The batch of step `step`, counted from 0; the same whenever it is asked for."""
        ids = self.mixture(self.order.batch(step))
        return self._batch(ids, generator(self.seed, "batch", step, self.rank))

    __call__ = get

    def once(self) -> Iterator[Batch]:
        """All instances one time, in the order of the file; the same batches whenever it is asked for."""
        order = BatchOrder(len(self.store), self.order.batch_size, ends="keep", shuffle=False)
        for step in range(order.steps_per_epoch):
            yield self._batch(order.batch(step), generator(self.seed, "once", step))

    def _batch(self, ids: np.ndarray, rng: np.random.Generator) -> Batch:
        batch = self.objective.batch(self._arrays, ids, rng)
        if self._taught:
            tokens = int(np.count_nonzero(batch.inputs["seg"]))
            known = {**batch.counts, "contrast": batch.counts.get("mlm", 0)}
            counts = {name: known.get(name.split("_")[0], tokens) for name in self._taught}
            if "mlm_order" in known:  # a second term of the mlm target, of students too
                orders = [name.replace("mlm_", "mlm_order_") for name in counts if name.startswith("mlm_")]
                counts.update(dict.fromkeys(orders, known["mlm_order"]))
            batch.counts.update(counts)
        return batch

    @property
    def mean_tokens(self) -> float:
        """Tokens of an instance, on average."""
        return float(self.objective.lengths(self.store).mean())

    def epoch(self, step: int) -> int:
        """How many times the whole dataset was gone through before step `step`."""
        return self.order.epoch(step)
