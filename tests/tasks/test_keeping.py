"""The best model of a run is there when it is read again, and its weights are numbers."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from tests.tasks.every import prepare
from tests.tasks.scripts import Folder, finetune
from uer.errors import UerError
from uer.tasks.evaluations import Evaluations
from uer.training.engines.base import Engine
from uer.training.workers import Workers


class Asked(Workers):
    """One of several workers, and in which order it was asked for what."""

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.rank, self.asked = rank, []

    def first_says(self, decision):
        self.asked.append("met")
        return decision


@pytest.mark.parametrize(("rank", "order"), [(0, ["saved", "met"]), (1, ["met"])])
def test_the_others_wait_until_the_first_worker_has_saved(rank, order):
    """What they read next, at the end of a run, must be there."""
    workers, model = Asked(rank), torch.nn.Linear(2, 2)
    engine = Engine(model, torch.optim.SGD(model.parameters()), workers)
    run = SimpleNamespace(engine=engine, means=SimpleNamespace(workers=workers), progress=None)
    Evaluations(run, 1, None, None, lambda weights: workers.asked.append("saved"), None).keep(3)
    assert workers.asked == order


def test_weights_that_are_not_finite_are_not_kept_as_the_best(tmp_path, capsys):
    folder = Folder(tmp_path)
    flags = {"learning_rate": 1e38, "weight_decay": 0, "scheduler": "constant", "max_grad_norm": 0}
    flags |= {"save_checkpoint_steps": 0, "max_bad_steps": 100, "epochs_num": 9}
    with pytest.raises(
        UerError, match=r"the weights are no longer finite at step \d+, so they are not saved"
    ):
        finetune("run_classifier", folder, **{**prepare("run_classifier", folder), **flags})
    assert not (tmp_path / "model.bin").exists()
