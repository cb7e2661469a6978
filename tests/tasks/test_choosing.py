"""Every script that trains one model: when it evaluates, which evaluation it keeps, when it ends, what it
tests; and that an evaluation keeps no outputs.
"""

from __future__ import annotations

import json
import weakref

import pytest
import torch

from tests.tasks.every import ONE_MODEL, prepare, with_test
from tests.tasks.scripts import Folder, finetune
from uer.checkpoints import read_state
from uer.tasks import predict
from uer.tasks.finetune import Finetuning
from uer.tasks.multi_task import MultiFinetuning

CHOOSING, STOPPING = [0.1, 0.5, 0.5, 0.3], [0.9, 0.8, 0.9, 0.7]
"""what two scores are at each evaluation: two are as good as each other, and nothing beats the first"""


class Scripted:
    """A metric, two of whose scores are told."""

    def __init__(self, metric, **told):
        self.metric, self.told = metric, told

    def __getattr__(self, name):
        return getattr(self.metric, name)

    def scores(self):
        """Its scores, some of them replaced."""
        return {**self.metric.scores(), **self.told}


@pytest.fixture
def evaluations(monkeypatch):
    """The weights at each evaluation, that on the test file last; their scores are told."""
    seen = []

    def replace(kind):
        inner = kind.evaluate

        def evaluate(self, examples, settled=False):
            metric, number = inner(self, examples, settled), len(seen)
            seen.append({name: x.detach().clone() for name, x in self.model.state_dict().items()})
            if settled:
                return metric
            first, last = names_of(metric)
            return Scripted(metric, **{first: STOPPING[number], last: CHOOSING[number]})

        monkeypatch.setattr(kind, "evaluate", evaluate)

    for kind in (Finetuning, MultiFinetuning):
        replace(kind)
    return seen


def names_of(metric):
    """The names of the first and the last score."""
    names = list(metric.scores())
    assert len(names) > 1, "two scores must be told apart"
    return names[0], names[-1]


NAMES = {
    **dict.fromkeys(("run_classifier", "run_classifier_prompt", "run_classifier_siamese"), ("acc", "auc")),
    "run_classifier_mt": ("acc", "auc"),
    "run_classifier_multi_label": ("acc", "macro_f1"),
    **dict.fromkeys(("run_simcse", "run_regression"), ("spearman", "pearson")),
    "run_ner": ("f1", "macro_f1"),
    "run_cmrc": ("avg", "em"),
    **dict.fromkeys(("run_c3", "run_chid"), ("acc", "mcc")),
    "run_dbqa": ("mrr", "map"),
    "run_text2text": ("acc", "rougeL"),
    "run_uie": ("f1", "recall"),
}
"""the first and the last score of each script"""


def same(one, other):
    """Whether weights are equal, to the bit."""
    return all(torch.equal(x, other[name]) for name, x in one.items())


@pytest.mark.parametrize("name", ONE_MODEL)
def test_the_best_evaluation(tmp_path, capsys, evaluations, name):
    folder = Folder(tmp_path)
    stopping, choosing = NAMES[name]
    flags = {"epochs_num": 9, "batch_size": 2, "eval_steps": 2, "learning_rate": 1e-2}
    flags |= {"best_metric": choosing, "early_stopping": f"{stopping}:3"}
    assert finetune(name, folder, **{**prepare(name, folder), **with_test(name, folder), **flags}) == 0
    log = capsys.readouterr().err
    assert "No better score in 3 evaluations (--early_stopping): training ends here." in log
    assert "(step 4), score 0.5000: " in log  # the first of equal ones
    records = [json.loads(line) for line in (tmp_path / "model.bin.run" / "metrics.jsonl").open()]
    assert [record["step"] for record in records if f"dev_{choosing}" in record] == [2, 4, 6, 8]
    weights, tested = evaluations[:4], evaluations[4:]
    assert len(weights) == 4 and not same(weights[1], weights[2]) and not same(weights[1], weights[3])
    saved = read_state(tmp_path / "model.bin")
    assert same({key: x for key, x in weights[1].items() if key in saved}, saved)
    assert len(tested) == bool(with_test(name, folder)) and all(same(weights[1], x) for x in tested)
    results = json.loads((tmp_path / "model.bin.run" / "results.json").read_text())
    assert results["Development, the best evaluation"]["scores"][choosing] == 0.5


@pytest.mark.parametrize("name", ONE_MODEL)
def test_evaluation_keeps_no_outputs(tmp_path, monkeypatch, name):
    """What the model gives for a batch is let go when the next but one is asked for."""
    inner, most = predict.outputs, []

    def outputs(model, compute, stream, precision):
        alive = []
        for batch, given in inner(model, compute, stream, precision):
            own = given.copy()
            alive.append(weakref.ref(own))
            yield batch, own
            del own
            most.append(sum(ref() is not None for ref in alive))

    monkeypatch.setattr(predict, "outputs", outputs)
    folder = Folder(tmp_path)
    assert finetune(name, folder, **{**prepare(name, folder), "batch_size": 2}) == 0
    assert len(most) >= 3 and max(most) <= 1
