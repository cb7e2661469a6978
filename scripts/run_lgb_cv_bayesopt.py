"""Search LightGBM's parameters for stacking, by the mean macro F1 of a cross validation."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Command, run
from uer.config.tools import StackingSearchOptions


def main(argv: list[str] | None = None) -> int:
    """Options → features and labels → search → the best parameters."""
    chosen = Command("scripts/run_lgb_cv_bayesopt.py", __doc__, StackingSearchOptions).start(argv)
    options = chosen[StackingSearchOptions]

    from uer.tasks.stacking import read_features, read_gold, search
    from uer.utils.files import atomic_write

    labels, gold = read_gold(options.train_path, labels_num=chosen.written.get("labels_num"))
    features = read_features(
        options.train_features_path, "train", options.models_num, len(gold), options.train_path
    )
    best, value = search(
        features,
        gold,
        len(labels),
        path=options.train_path,
        folds_num=options.folds_num,
        trials=options.epochs_num,
        seed=options.seed,
        say=say,
    )
    print(f"Best macro F1: {value:.4f} with {json.dumps(best)}")
    if options.params_path is not None:
        with atomic_write(options.params_path) as file:
            json.dump(best, file, indent=2)
            file.write("\n")
    return 0


def say(number: int, value: float, parameters: dict[str, Any]) -> None:
    """One line a trial."""
    shown = ", ".join(f"{name} {x:.4g}" for name, x in parameters.items())
    print(f"Trial {number}: macro F1 {value:.4f} ({shown})")


if __name__ == "__main__":
    sys.exit(run(main))
