"""Cross validation: each row is predicted by the model of the fold that did not see it, for stacking."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uer.config.finetune import fold_path
from uer.errors import DataError
from uer.metrics import Confusion, Table
from uer.metrics.classification import softmax
from uer.tasks.finetune import Finetuning, finetune, shuffled
from uer.tasks.predict import in_order
from uer.tasks.rows import Examples
from uer.training.runlog import late_result, run_folder
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

    With `--resume` finished folds are not trained again, and one that was cut short goes on.

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
    start = {name: x.clone() for name, x in model.state_dict().items()}
    count = rows.rows_num
    features, confusions = np.empty((count, len(task.labels)), np.float32), []
    for number, held_out in enumerate(folds(count, options.folds_num, options.train_path)):
        model.load_state_dict(start)
        path = fold_path(options.output_model_path, number)
        resuming = finetuning.resuming(path)
        seen, unseen = (rows.take_whole(x) for x in (np.setdiff1d(np.arange(count), held_out), held_out))
        if resuming.finished is None:
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
                resuming=resuming,
                eval_steps=batches.period * options.epochs_num,
            )
            finetuning.save(path, folds_num=options.folds_num)
            size, precision = finetuning.training.batch_size, finetuning.precision
            logits = in_order(model, task, unseen, batch_size=size, precision=precision)
            resuming.finish({"logits": logits.tolist()})
        else:
            logits = np.array(resuming.finished["logits"], np.float32)
        features[held_out] = softmax(logits)
        confusion = task.metric().confusion
        confusion.update(logits.argmax(axis=1), unseen.labels_of_rows("cls"))
        confusions.append(confusion)
    late_result(run_folder(options.output_model_path), "Folds", Folds(confusions))
    return features, confusions


class Folds:
    """What the page of a run shows of a cross validation."""

    def __init__(self, confusions: Sequence[Confusion]) -> None:
        self.confusions = list(confusions)

    def scores(self) -> dict[str, float]:
        """Plain means over the folds."""
        each = [fold.scores() for fold in self.confusions]
        return {name: float(np.mean([scores[name] for scores in each])) for name in ("acc", "macro_f1")}

    def report(self) -> list[str]:
        """See `report`."""
        return report(self.confusions)

    def tables(self) -> list[Table]:
        """The folds, and the labels of all rows, each of which was predicted once."""
        rows = [
            [str(number), fold.total, fold.accuracy, fold.macro_f1]
            for number, fold in enumerate(self.confusions)
        ]
        every = Confusion(self.confusions[0].names)
        every.matrix = sum(fold.matrix for fold in self.confusions)
        return [Table("Each fold", ["fold", "rows", "accuracy", "macro F1"], rows), *every.tables()]


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
