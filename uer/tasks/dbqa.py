"""Which of several sentences answer a question: `qid label text_a text_b`, label 1 where the text does.

The model is the classifier's with two labels, so `run_classifier_infer` predicts with it; the score of a row
is the logit of label 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from uer.data.batch import Batch
from uer.data.readers import read_tsv
from uer.errors import DataError
from uer.metrics import GroupRanking
from uer.tasks.classifier import ClassifierTask
from uer.tasks.labels import LabelMap
from uer.tasks.rows import Examples
from uer.tasks.table import Table


class DbqaTask(ClassifierTask):
    """A classifier that is scored by the order of the rows of each question."""

    columns = ("qid", "label", "text_a")

    def further(self, table: Table) -> dict[str, np.ndarray]:
        """`row`, the number of each row, and `group`, that of its question.

        Raises:
            DataError: a row has no question.
        """
        numbers: dict[str, int] = {}
        for name, line in zip(table.column("qid"), table.lines):
            if not name.strip():
                raise DataError(
                    "the column 'qid' is empty; it names the question.", path=table.path, line=line
                )
            numbers.setdefault(name, len(numbers))
        groups = [numbers[name] for name in table.column("qid")]
        return {"row": np.arange(len(table)), "group": np.array(groups, np.int64)}

    def metric(self, settled: bool = False) -> GroupRanking:
        """A fresh metric."""
        return GroupRanking()

    def score(self, metric: GroupRanking, outputs: np.ndarray, batch: Batch, examples: Examples) -> None:
        """Feed logits [B, 2] of a batch to a metric."""
        labels = batch.labels
        metric.update(labels["row"], labels["group"], outputs[:, 1], labels["cls"] == 1)


def question_labels(path: str | Path, labels: LabelMap) -> LabelMap:
    """The labels of a training file, which must be 0 and 1.

    Raises:
        DataError: they are others.
    """
    if labels.names != ("0", "1"):
        rows = ((line, row["label"].strip()) for line, row in read_tsv(path, ("label",)))
        line, label = next((line, label) for line, label in rows if label not in ("0", "1"))
        raise DataError(
            f"the label is '{label[:60]}'; it must be 1 (the text answers the question) or 0.",
            path=path,
            line=line,
        )
    return labels
