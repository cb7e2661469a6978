"""Cross validation: each row is predicted by the model of the fold that did not see it, for stacking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uer.config.finetune import fold_path
from uer.errors import DataError
from uer.metrics import Confusion
from uer.metrics.classification import softmax
from uer.tasks.finetune import Finetuning, finetune, shuffled
from uer.tasks.predict import in_order
from uer.tasks.rows import Examples
from uer.utils.files import atomic_write


def folds(rows: int, count: int, path: str) -> list[np.ndarray]:
    """UER's folds: consecutive stretches of `rows // count + 1` rows, the last one shorter.

    Raises:
        DataError: a fold would be empty, or all rows but its own would be.
    """
    size = rows // count + 1
    parts = [np.arange(start, min(start + size, rows)) for start in range(0, size * count, size)]
    if not all(len(part) for part in parts):
        raise DataError(
            f"{rows} rows are too few for {count} folds of {size} rows; lower --folds_num or add rows.",
            path=path,
        )
    return parts


def cross_validate(finetuning: Finetuning, rows: Examples) -> tuple[np.ndarray, list[Confusion]]:
    """Train a classifier for each fold on the rows of all others, from the same weights, and keep it.

    Args:
        finetuning: the model with its first weights; its options are `CrossValidationOptions`.
        rows: of all folds.

    Returns:
        float32 [n, C], the probabilities of each row by the model that did not see it; and the confusion of
        each fold.

    Raises:
        DataError: see `folds`.
    """
    model, task, options = finetuning.model, finetuning.task, finetuning.options
    predicting = {"batch_size": finetuning.training.batch_size, "precision": finetuning.precision}
    start = {name: x.clone() for name, x in model.state_dict().items()}
    features, confusions = np.empty((len(rows), len(task.labels)), np.float32), []
    for number, held_out in enumerate(folds(len(rows), options.folds_num, options.train_path)):
        model.load_state_dict(start)
        seen, unseen = rows.take(np.setdiff1d(np.arange(len(rows)), held_out)), rows.take(held_out)
        batches = shuffled(task, seen, finetuning.training)
        finetune(
            model,
            task,
            batches,
            finetuning.means,
            options=options,
            adversarial=finetuning.adversarial,
            precision=finetuning.precision,
            score=lambda unseen=unseen: finetuning.evaluate(unseen),
            eval_steps=batches.period * options.epochs_num,
        )
        finetuning.save(fold_path(options.output_model_path, number))
        logits = in_order(model, task, unseen, **predicting)
        features[held_out] = softmax(logits)
        confusion = task.metric().confusion
        confusion.update(logits.argmax(axis=1), unseen.labels["cls"])
        confusions.append(confusion)
    return features, confusions


def report(confusions: Sequence[Confusion]) -> list[str]:
    """UER's lines: plain means over the folds of accuracy and macro F1 (spelled as UER does)."""
    return [
        f"Acc. : {np.mean([fold.accuracy for fold in confusions]):.4f}",
        f"Marco F1 : {np.mean([fold.macro_f1 for fold in confusions]):.4f}",
    ]


def write_features(path: str | Path, values: np.ndarray) -> str:
    """An array as an npy file; `.npy` is put behind a name without it, as NumPy does.

    Returns:
        the path that was written.
    """
    name = str(path) if str(path).endswith(".npy") else f"{path}.npy"
    with atomic_write(name, "wb") as file:
        np.save(file, values, allow_pickle=False)
    return name
