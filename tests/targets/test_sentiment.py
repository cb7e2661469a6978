"""SKEP's targets against their formulas in fp64."""

import pytest
import torch

from uer.layers.layout import Layout
from uer.targets.sentiment import PairTarget, PolarityTarget
from uer.targets.term import IGNORE

H, V = 8, 11
SEG = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 0, 0]])
PAIRS = torch.tensor([[[1, 2, 5], [3, 3, IGNORE]], [[0, 4, IGNORE], [IGNORE] * 3], [[IGNORE] * 3] * 2])


def call(target, grid, labels, packed):
    layout = Layout.from_seg(SEG) if packed else None
    pack = layout.pack if packed else lambda x: x
    labels = {name: pack(x) if name in target.token_labels else x for name, x in labels.items()}
    return target(pack(grid), labels, seg=pack(SEG), layout=layout, run=None)


@pytest.mark.parametrize("packed", [False, True])
def test_a_pair_is_as_many_questions_as_there_are_tokens(packed):
    torch.manual_seed(0)
    target, grid = PairTarget(H, V), torch.randn(3, 4, H, requires_grad=True)
    term = call(target, grid, {"pair": PAIRS}, packed)["pair"]
    loss, right = 0.0, 0
    for row, wanted in ((0, {1, 2, 5}), (0, {3}), (1, {0, 4})):
        z = grid[row, 0].double() @ target.linear.weight.double().T + target.linear.bias.double()
        p = torch.sigmoid(z - torch.log(torch.tensor(float(V), dtype=torch.float64)))
        y = torch.tensor([float(number in wanted) for number in range(V)], dtype=torch.float64)
        loss -= (y * p.log() + (1 - y) * (1 - p).log()).sum()
        right += bool((p[sorted(wanted)] > 0.5).all())
    assert float(term.loss_sum) == pytest.approx(float(loss), rel=1e-5)
    assert int(term.count) == 3 and int(term.correct) == right
    ours = torch.autograd.grad(term.loss_sum, grid)[0]
    theirs = torch.autograd.grad(loss, grid)[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_fresh_layer_expects_one_token():
    target = PairTarget(H, 1000)
    assert float(torch.sigmoid(target.logits(torch.zeros(H))).sum()) == pytest.approx(1, abs=0.5)


def test_likely_pairs_are_right():
    target = PairTarget(2, V)
    with torch.no_grad():
        target.linear.weight.zero_()
        target.linear.bias.fill_(-9).index_fill_(0, torch.tensor([1, 2, 5]), 9)
    assert int(call(target, torch.zeros(3, 4, 2), {"pair": PAIRS}, True)["pair"].correct) == 1


def test_no_pair_is_no_loss():
    target, grid = PairTarget(H, V), torch.randn(3, 4, H, requires_grad=True)
    for empty in (torch.full((3, 2, 2), IGNORE), torch.zeros(3, 0, 0, dtype=torch.long)):
        term = call(target, grid, {"pair": empty}, True)["pair"]
        assert float(term.loss_sum) == int(term.count) == int(term.correct) == 0
        term.loss_sum.backward()


@pytest.mark.parametrize("packed", [False, True])
def test_polarity_is_asked_where_it_is_labelled(packed):
    torch.manual_seed(1)
    target, grid = PolarityTarget(H), torch.randn(3, 4, H)
    labels = torch.full((3, 4), IGNORE)
    labels[0, 1], labels[1, 2], labels[2, 0] = 1, 0, 1
    term = call(target, grid, {"polarity": labels}, packed)["polarity"]
    logits = (grid.double() @ target.linear.weight.double().T + target.linear.bias.double())[labels != IGNORE]
    wanted = labels[labels != IGNORE]
    assert float(term.loss_sum) == pytest.approx(
        float(torch.nn.functional.cross_entropy(logits, wanted, reduction="sum")), rel=1e-5
    )
    assert int(term.count) == 3 and int(term.correct) == int((logits.argmax(-1) == wanted).sum())
