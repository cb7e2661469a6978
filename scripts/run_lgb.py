"""Stack classifiers: LightGBM over the features that run_classifier_cv.py and its inference twin wrote."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.tools import StackingOptions


def main(argv: list[str] | None = None) -> int:
    """Options → features and labels of both files → train → score."""
    chosen = Command("scripts/run_lgb.py", __doc__, StackingOptions).start(argv)
    options = chosen[StackingOptions]

    from uer.tasks.stacking import read_features, read_gold, read_parameters, score, train

    labels, gold = read_gold(options.train_path, labels_num=chosen.written.get("labels_num"))
    _, test_gold = read_gold(options.test_path, labels)
    count = options.models_num
    features = read_features(options.train_features_path, "train", count, len(gold), options.train_path)
    test = read_features(options.test_features_path, "test", count, len(test_gold), options.test_path)
    model = train(read_parameters(options.params_path), features, gold, len(labels))
    for line in score(model, test, test_gold, labels.names).report():
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
