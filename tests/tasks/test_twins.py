"""Every inference script with a model of another task: what it is, and which script to type."""

import pytest

from tests.tasks.every import prepare
from tests.tasks.scripts import Folder, finetune, script, words
from uer.errors import CheckpointError
from uer.utils.files import repository_root

TWINS = sorted(path.stem for path in (repository_root() / "inference").glob("run_*.py"))
CLASSIFIERS = [name for name in TWINS if name.startswith(("run_classifier_cv", "run_classifier_deepspeed"))]
CLASSIFIERS += ["run_classifier_infer", "run_classifier_infer_cv"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A classifier and a regression, under the names of folds too."""
    folder = Folder(tmp_path_factory.mktemp("twins"))
    for name in ("run_classifier", "run_regression"):
        made = folder / f"{name}-fold_0.bin"
        assert finetune(name, folder, **prepare(name, folder), output_model_path=made) == 0
    return folder


@pytest.mark.parametrize("name", TWINS)
def test_a_model_of_another_task(folder, name):
    made, task = ("run_regression", "regression") if name in CLASSIFIERS else ("run_classifier", "classifier")
    folds = "cv" in name
    out = {"prediction_path": folder / "out.tsv"}
    if "simcse" in name:
        out = {"vectors_path": folder / "out.npy"}
    elif folds:
        out = {"test_features_path": folder / "out.npy"}
    elif "uie" in name:
        out["schema_path"] = folder.write("schema.json", '["x"]')
    path = folder / (f"{made}.bin" if folds else f"{made}-fold_0.bin")
    message = rf"is a model of the task '{task}', .*inference/{made}_infer\.py"
    with pytest.raises(CheckpointError, match=message):
        script(f"inference/{name}").main(words(load_model_path=path, test_path=folder / "rows.tsv", **out))
    assert not list(folder.path.glob("out.*"))
