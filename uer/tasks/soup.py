"""Greedy soups: of several fine-tuned classifiers the ones whose mean does best (Wortsman et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence

from uer.checkpoints.average import average
from uer.checkpoints.companion import read_companion
from uer.errors import CheckpointError
from uer.tasks.classifier import ClassifierModel, ClassifierTask, saved_labels
from uer.tasks.predict import evaluate
from uer.tasks.setup import pick_device, pick_precision
from uer.utils.logging import logger


def greedy_soup(paths: Sequence[str], dev_path: str) -> tuple[str, ...]:
    """The files whose mean is the soup, the best first.

    Each file is scored alone; then, the best first, it is taken where the mean of all taken ones is at least
    as accurate with it as without it.

    Raises:
        CheckpointError: the files are no classifiers with companions, or not of one model.
        DataError: a fault of the rows.
    """
    companion = read_companion(paths[0])
    if companion is None or companion.tokenizer is None or companion.extra.get("task") != "classifier":
        raise CheckpointError(
            f"{paths[0]} is no classifier that says by itself what it is; --soup_path takes those that "
            "run_classifier.py saved."
        )
    from uer.tokenizers import load_tokenizer

    tokenizer = load_tokenizer(companion.tokenizer)
    labels = saved_labels(paths[0], companion, None, task=ClassifierTask.name)
    task = ClassifierTask(
        tokenizer,
        labels,
        seq_length=companion.extra["seq_length"],
        single_text_sep=companion.extra["single_text_sep"],
    )
    model = ClassifierModel.build(companion.config.replace(labels_num=len(labels)), len(tokenizer))
    model.to(pick_device())
    precision, rows = pick_precision("fp32", model), task.read(dev_path)

    def accuracy(parts: Sequence[str]) -> float:
        """Of the mean of these models, on the development file."""
        state, _ = average(parts if len(parts) > 1 else (*parts, *parts))
        model.load_state_dict(state)
        metric = evaluate(model, task, rows, batch_size=64, precision=precision)
        return metric.scores()["acc"]

    alone = {path: accuracy([path]) for path in paths}
    for path, value in alone.items():
        logger.info("%s alone: %.4f", path, value)
    order = sorted(alone, key=alone.get, reverse=True)
    taken, best = order[:1], alone[order[0]]
    for path in order[1:]:
        value = accuracy([*taken, path])
        logger.info("With %s: %.4f", path, value)
        if value >= best:
            taken, best = [*taken, path], value
    return tuple(taken)
