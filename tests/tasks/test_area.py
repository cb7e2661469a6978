"""The area under the ROC curve of more than two labels: scored where a flag names it."""

import json

import pytest

from tests.tasks.every import prepare
from tests.tasks.scripts import Folder, finetune
from uer.errors import ConfigError

AREAS = ("run_classifier", "run_classifier_siamese", "run_classifier_mt", "run_classifier_prompt")


@pytest.mark.parametrize("name", AREAS)
def test_the_area_of_three_labels_is_computed_where_it_is_named(tmp_path, name, capsys):
    folder = Folder(tmp_path)
    flags = prepare(name, folder)
    for path in tmp_path.rglob("*.tsv"):
        path.write_text(path.read_text().replace("1\tc d e f g", "2\tc d e f g"))
    if name == "run_classifier_prompt":
        words = {"0": "a", "1": "b", "2": "c"}
        folder.write("p.json", json.dumps({"mine": {"template": "[TEXT_A][ANS]", "answer_words": words}}))
    for more in ({"best_metric": "auc"}, {"early_stopping": "auc:2"}):
        assert finetune(name, folder, **flags, **more) == 0
        records = [json.loads(line) for line in (tmp_path / "model.bin.run" / "metrics.jsonl").open()]
        assert 0 <= records[-1]["dev_auc"] <= 1
    with pytest.raises(ConfigError, match="--early_stopping 'area' is unknown; choose from acc, macro_f1"):
        finetune(name, folder, **flags, early_stopping="area:2")
