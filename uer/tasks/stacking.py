"""Stacking: LightGBM over the probabilities that several models gave to rows they had not seen.

Shapes: n rows, M models, C labels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from uer.data.readers import read_tsv
from uer.errors import DataError
from uer.metrics import Classification, Confusion
from uer.tasks.cross_validation import folds
from uer.tasks.labels import LabelMap
from uer.utils.lazy import optional

ROUNDS = 100  # trees a label
# What LightGBM is told whatever is searched: repeatable numbers, no chatter.
FIXED = {"objective": "multiclass", "verbosity": -1, "deterministic": True, "force_row_wise": True, "seed": 7}
# Where nothing was searched: small trees, since the features are few and already probabilities.
DEFAULTS = {"learning_rate": 0.05, "num_leaves": 15, "feature_fraction": 0.8, "bagging_fraction": 0.8}
DEFAULTS |= {"bagging_freq": 1, "min_child_samples": 5}
# The seven parameters of the search and their bounds; the first two are whole numbers.
BOUNDS = {
    "num_leaves": (4, 100),
    "max_depth": (3, 15),
    "feature_fraction": (0.1, 1.0),
    "bagging_fraction": (0.5, 1.0),
    "lambda_l1": (0.0, 5.0),
    "lambda_l2": (0.0, 5.0),
    "min_child_weight": (1e-3, 10.0),
}
WHOLE = ("num_leaves", "max_depth")


def read_gold(
    path: str, labels: LabelMap | None = None, labels_num: int | None = None
) -> tuple[LabelMap, NDArray]:
    """The labels of a table, int64 [n], and what they are called.

    Args:
        labels: those of the training file, for a test file.
        labels_num: their number, for a training file.

    Raises:
        DataError: a fault of the file, other labels, or another number of them.
    """
    rows = [(line, row["label"]) for line, row in read_tsv(path, ("label",))]
    if labels is None:
        labels = LabelMap.collect(rows, path, labels_num)
    if not rows:
        raise DataError("there is no row under the header.", path=path)
    return labels, np.array([labels.id_of(value, path, line) for line, value in rows], np.int64)


def read_features(prefix: str, part: str, models_num: int, rows: int, path: str) -> NDArray:
    """float32 [n, M·C]: the files `PREFIX{part}_features_0.npy` … side by side.

    Args:
        part: "train" or "test".
        rows: n, rows of the table at `path`.

    Raises:
        DataError: a file is missing or no array of numbers, or has another number of rows.
    """
    arrays = []
    for number in range(models_num):
        name = f"{prefix}{part}_features_{number}.npy"
        try:
            values = np.load(name, allow_pickle=False)
        except FileNotFoundError:
            raise DataError(
                f"does not exist; --models_num {models_num} models give the files "
                f"{prefix}{part}_features_0.npy … {models_num - 1}.npy: lower it or write the file.",
                path=name,
            ) from None
        except (OSError, ValueError) as error:
            raise DataError(f"is no array of numpy ({error}).", path=name) from error
        if values.ndim != 2 or values.dtype.kind != "f" or len(values) != rows:
            raise DataError(
                f"holds {list(values.shape)} numbers of type {values.dtype}, but {path} has {rows} rows, "
                "each of which needs a row of probabilities.",
                path=name,
            )
        arrays.append(values.astype(np.float32))
    return np.concatenate(arrays, axis=1)


def read_parameters(path: str | None) -> dict[str, Any]:
    """LightGBM's parameters from a JSON object; the defaults where no file is named.

    Raises:
        DataError: missing, or no JSON object.
    """
    if path is None:
        return dict(DEFAULTS)
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror}).", path=path) from error
    except ValueError as error:
        raise DataError(f"is not valid JSON ({error}).", path=path) from error
    if not isinstance(values, dict):
        raise DataError("must be a JSON object of LightGBM's parameters.", path=path)
    return values


def train(parameters: Mapping[str, Any], features: NDArray, gold: NDArray, labels_num: int) -> Any:
    """A LightGBM model of the rows [n, M·C] and their labels [n].

    Raises:
        DataError: LightGBM refuses a parameter.
        EnvironmentFault: it is not installed.
    """
    lightgbm = optional("lightgbm", "stacking")
    settings = {**FIXED, **parameters, "num_class": labels_num}
    try:
        return lightgbm.train(settings, lightgbm.Dataset(features, gold), num_boost_round=ROUNDS)
    except lightgbm.basic.LightGBMError as error:
        raise DataError(f"LightGBM refuses the parameters {dict(parameters)}: {error}") from error


def score(model: Any, features: NDArray, gold: NDArray, names: tuple[str, ...]) -> Classification:
    """The scores of a model on rows."""
    metric = Classification(names)
    metric.update(np.log(np.maximum(model.predict(features), 1e-12)), gold)
    return metric


def cross_validated_f1(
    parameters: Mapping[str, Any], features: NDArray, gold: NDArray, labels_num: int, parts: list[NDArray]
) -> float:
    """Mean macro F1 over the folds."""
    found = []
    for held_out in parts:
        seen = np.setdiff1d(np.arange(len(gold)), held_out)
        model = train(parameters, features[seen], gold[seen], labels_num)
        confusion = Confusion(labels_num)
        confusion.update(model.predict(features[held_out]).argmax(axis=1), gold[held_out])
        found.append(confusion.macro_f1)
    return float(np.mean(found))


def settings_of(point: Mapping[str, float]) -> dict[str, Any]:
    """LightGBM's parameters at a point of the search."""
    found = {name: round(value) if name in WHOLE else float(value) for name, value in point.items()}
    return {**found, "bagging_freq": 1, "learning_rate": DEFAULTS["learning_rate"], "min_child_samples": 5}


def search(
    features: NDArray,
    gold: NDArray,
    labels_num: int,
    *,
    path: str,
    folds_num: int,
    trials: int,
    seed: int,
    say: Callable[[int, float, dict[str, Any]], None],
) -> tuple[dict[str, Any], float]:
    """The best parameters of a Bayesian search over `BOUNDS`, and their mean macro F1 over UER's folds.

    Args:
        path: the table, for messages.
        trials: points to try; the first ones are drawn at random.
        say: called with the number, score and parameters of each trial.

    Raises:
        EnvironmentFault: the optimiser or LightGBM is not installed.
    """
    bayes_opt = optional("bayes_opt", "stacking")
    parts = folds(len(gold), folds_num, path)
    best: tuple[dict[str, Any], float] = ({}, -1.0)
    count = 0

    def trial(**point: float) -> float:
        """The score of one choice of parameters; the best is kept."""
        nonlocal best, count
        settings = settings_of(point)
        value = cross_validated_f1(settings, features, gold, labels_num, parts)
        count += 1
        say(count, value, settings)
        if value > best[1]:
            best = (settings, value)
        return value

    optimizer = bayes_opt.BayesianOptimization(
        trial, BOUNDS, random_state=seed, verbose=0, allow_duplicate_points=True
    )
    first = min(trials, max(2, min(10, trials // 4)))
    optimizer.maximize(init_points=first, n_iter=trials - first)
    return best
