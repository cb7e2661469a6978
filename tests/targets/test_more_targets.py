"""PERT's choice among places, contrast of rows, replaced tokens: against loops in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from uer.layers.layout import Layout
from uer.layers.norms import LayerNorm
from uer.targets.csp import TEMPERATURE, CspTarget
from uer.targets.mlm import MlmTarget
from uer.targets.mts import MtsTarget
from uer.targets.pert import PertTarget
from uer.targets.rtd import RtdTarget
from uer.targets.sp import SpTarget
from uer.targets.term import IGNORE
from uer.targets.vocabulary import vocabulary_term

H, V = 8, 11
SEG = torch.tensor([[1, 1, 2, 2, 0], [1, 2, 2, 2, 2], [1, 1, 0, 0, 0]])
PLACES = torch.tensor([[-100, 2, 1, -100, -100], [3, -100, 2, 0, -100], [-100, -100, -100, -100, -100]])


@pytest.fixture(autouse=True)
def exact():
    """Numbers in float64, always the same ones."""
    torch.manual_seed(2)
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def call(target, grid: Tensor, labels: dict[str, Tensor], packed: bool, run=None):
    """The terms, on the grid or on packed tokens."""
    layout = Layout.from_seg(SEG) if packed else None
    pack = layout.pack if packed else lambda x: x
    shaped = {name: pack(x) if x.shape == SEG.shape else x for name, x in labels.items()}
    return target(pack(grid), shaped, seg=pack(SEG), layout=layout, run=run)


@pytest.mark.parametrize("packed", [False, True])
def test_pert_is_a_choice_among_the_places_of_the_row(packed: bool) -> None:
    grid = torch.randn(3, 5, H, requires_grad=True)
    target = PertTarget(H, 7, hidden_act="gelu", layer_norm=LayerNorm(H))
    with torch.no_grad():
        target.bias.normal_()
    expected, right, labelled = torch.zeros(()), 0, 0
    for row, length in enumerate((SEG > 0).sum(1).tolist()):
        for column in range(length):
            if PLACES[row, column] == IGNORE:
                continue
            asked = target.layer_norm(F.gelu(target.linear_1(grid[row, column])))
            scores = torch.stack([asked @ grid[row, place] + target.bias[place] for place in range(length)])
            expected = expected - torch.log_softmax(scores, 0)[PLACES[row, column]]
            right += int(scores.argmax() == PLACES[row, column])
            labelled += 1
    by_hand = torch.autograd.grad(expected, [grid, *target.parameters()])
    found = call(target, grid, {"pert": PLACES}, packed)["pert"]
    assert (int(found.count), int(found.correct)) == (labelled, right) == (5, right)
    torch.testing.assert_close(found.loss_sum, expected)
    ours = torch.autograd.grad(found.loss_sum, [grid, *target.parameters()])
    for one, other in zip(ours, by_hand, strict=True):
        torch.testing.assert_close(one, other)


def test_pert_without_labels_is_no_loss() -> None:
    target = PertTarget(H, 7, hidden_act="gelu", layer_norm=LayerNorm(H))
    found = call(target, torch.randn(3, 5, H), {"pert": torch.full((3, 5), IGNORE)}, True)["pert"]
    found.loss_sum.backward()
    assert float(found.loss_sum.detach()) == int(found.count) == 0 and not target.linear_1.weight.grad.any()


@pytest.mark.parametrize("packed", [False, True])
def test_replaced_tokens(packed: bool) -> None:
    grid, replaced = torch.randn(3, 5, H), (torch.rand(3, 5) < 0.4).long().masked_fill(SEG == 0, IGNORE)
    target = RtdTarget(H, hidden_act="gelu")
    logits = target.linear_2(F.gelu(target.linear_1(grid))).squeeze(-1)
    p = torch.sigmoid(logits)
    losses = -torch.where(replaced == 1, p.log(), (1 - p).log())[SEG > 0]
    found = call(target, grid, {"rtd": replaced}, packed)["rtd"]
    torch.testing.assert_close(found.loss_sum, losses.sum())
    assert int(found.count) == 11 and target.weight == 50
    assert int(found.correct) == int(((p > 0.5) == (replaced == 1))[SEG > 0].sum())


def test_the_right_one_of_some_tokens() -> None:
    target, words = MtsTarget(H, 6, V, hidden_act="relu"), torch.nn.Embedding(V, 6)
    grid, hidden = torch.randn(3, 5, H), torch.tensor([[0, 1, 1, 0, 0], [1, 1, 0, 1, 0], [0, 1, 0, 0, 0]]) > 0
    replaced = hidden & (torch.arange(15).view(3, 5) % 2 == 0)
    texts = torch.randint(V, (3, 5))
    labels = {
        "mlm": texts.masked_fill(~hidden, IGNORE),
        "mts": texts.masked_fill(~replaced, IGNORE),
        "candidates": torch.stack([torch.randperm(V)[:4] for _ in range(int(replaced.sum()))]),
    }

    class Run:
        vectors = staticmethod(words)

    found = call(target, grid, labels, True, Run())["mts"]
    expected, right = 0.0, 0
    for state, choice in zip(grid[replaced], labels["candidates"]):
        asked = torch.relu(target.linear(state))
        scores = torch.stack([asked @ words(one) + target.bias(one)[0] for one in choice])
        expected -= float(torch.log_softmax(scores, 0)[0].detach())
        right += int(scores.argmax() == 0)
    count, total = int(replaced.sum()), int(hidden.sum())
    assert float(found.loss_sum / found.count) == pytest.approx(expected / count)
    assert int(found.count) == total and int(found.correct) == round(right * total / count)
    assert target.weight == 20


def test_the_other_form_of_the_same_text() -> None:
    target = CspTarget(H, 5, dropout=0.5).eval()
    first = torch.randn(6, H)
    vectors = target.linear_2(F.gelu(target.linear_1(first)))
    expected = 0.0
    for one in range(6):
        cosines = [float(F.cosine_similarity(vectors[one], vectors[other], 0)) for other in range(6)]
        odds = {other: math.exp(cosines[other] / TEMPERATURE) for other in range(6) if other != one}
        expected -= math.log(odds[one ^ 1] / sum(odds.values()))
    seg = torch.ones(6, 1, dtype=torch.long)
    found = target(first[:, None], {}, seg=seg, layout=None, run=None)["csp"]
    assert float(found.loss_sum) == pytest.approx(expected, rel=1e-9) and int(found.count) == 6
    target.train()
    assert float(target(first[:, None], {}, seg=seg, layout=None, run=None)["csp"].loss_sum) != pytest.approx(
        expected
    )


def test_tokens_out_of_order_are_found_by_the_same_head() -> None:
    target = MlmTarget(H, H, V, hidden_act="gelu", layer_norm=LayerNorm(H))
    grid = torch.randn(3, 5, H)
    hidden, order = (torch.randint(V, (3, 5)).masked_fill(torch.rand(3, 5) < 0.6, IGNORE) for _ in range(2))
    both = call(target, grid, {"mlm": hidden, "mlm_order": order}, False)
    assert list(both) == ["mlm", "mlm_order"]
    for labels, found in zip((hidden, order), both.values()):
        loss = F.cross_entropy(target.logits(grid).flatten(0, 1), labels.flatten(), reduction="sum")
        torch.testing.assert_close(found.loss_sum, loss)
    assert list(call(target, grid, {"mlm": hidden}, False)) == ["mlm"]


def test_three_kinds_of_pairs() -> None:
    target, kinds = SpTarget(H, 3), torch.tensor([2, 0, 1])
    grid = torch.randn(3, 5, H)
    found = call(target, grid, {"sp": kinds}, True)["sp"]
    torch.testing.assert_close(
        found.loss_sum, F.cross_entropy(target.logits(grid[:, 0]), kinds, reduction="sum")
    )


@pytest.mark.parametrize("quantised", [False, True])
def test_logits_are_shown_in_order_and_as_they_are(quantised: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("uer.targets.vocabulary.CACHED", 3 * V)  # three rows at a time
    output = torch.nn.Linear(H, V)
    shown = torch.nn.Sequential(output) if quantised else output
    hidden, labels = torch.randn(20, H), torch.randint(V, (20,)).masked_fill(torch.rand(20) < 0.3, IGNORE)
    seen: list[tuple[Tensor, Tensor]] = []
    vocabulary_term(hidden, shown, labels, look=lambda logits, right: seen.append((logits.clone(), right)))
    kept = labels != IGNORE
    torch.testing.assert_close(torch.cat([logits for logits, _ in seen]), output(hidden[kept]).detach())
    assert torch.equal(torch.cat([right for _, right in seen]), labels[kept])
    assert quantised or len(seen) > 1
