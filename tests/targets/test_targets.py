"""Targets: losses against formulas in fp64, counts, and that unlabelled positions cost nothing."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from uer.config.model import TARGETS as NAMES
from uer.layers.layout import Layout
from uer.layers.norms import LayerNorm
from uer.targets import TARGETS, vocabulary
from uer.targets.bilm import BilmTarget
from uer.targets.cls import ClsTarget
from uer.targets.lm import LmTarget, predicts_second_text
from uer.targets.mlm import MlmTarget
from uer.targets.sp import SpTarget
from uer.targets.term import IGNORE, term
from uer.targets.vocabulary import vocabulary_term
from uer.utils.lazy import load

H, V = 8, 11
SEG = torch.tensor([[1, 1, 2, 2, 0], [1, 2, 2, 2, 2]])


def test_table_holds_the_names_of_the_configuration() -> None:
    assert set(TARGETS) == set(NAMES)
    for name, target in TARGETS.items():
        assert load(target).name == name


@settings(deadline=None)
@given(st.integers(1, 12), st.sampled_from([0.0, 0.1, 1.0]), st.randoms(use_true_random=False))
def test_cross_entropy_with_and_without_smoothing(rows: int, smoothing: float, random: object) -> None:
    torch.manual_seed(random.randrange(1 << 30))
    logits, labels = torch.randn(rows, V) * 3, torch.randint(0, V, (rows,))
    labels[torch.rand(rows) < 0.3] = IGNORE
    log_p = torch.log_softmax(logits.double(), dim=-1)
    loss = 0.0
    for row in range(rows):
        if labels[row] != IGNORE:
            # The label keeps 1 - s; the other V - 1 classes share s.
            weights = torch.full((V,), smoothing / (V - 1), dtype=torch.float64)
            weights[labels[row]] = 1 - smoothing
            loss -= float((weights * log_p[row]).sum())
    ours = term(logits, labels, label_smoothing=smoothing)
    assert float(ours.loss_sum) == pytest.approx(loss, rel=1e-5, abs=1e-5)
    assert int(ours.count) == int((labels != IGNORE).sum())
    assert int(ours.correct) == int((logits.argmax(-1) == labels).sum())


def test_low_precision_logits_give_fp32_losses() -> None:
    logits, labels = torch.randn(4, V).bfloat16(), torch.tensor([1, 2, IGNORE, 3])
    exact = torch.nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    assert term(logits, labels).loss_sum.dtype == torch.float32
    torch.testing.assert_close(term(logits, labels).loss_sum, exact)


def test_nothing_labelled_is_a_loss_of_zero_with_gradients() -> None:
    target = LmTarget(H, V, bias=True)
    hidden = torch.randn(2, 5, H, requires_grad=True)
    (found,) = call(target, hidden, {"lm": torch.full((2, 5), IGNORE)}).values()
    found.loss_sum.backward()
    assert found.loss_sum.item() == int(found.count) == int(found.correct) == 0
    assert not target.output_layer.weight.grad.any()


def call(target: torch.nn.Module, hidden: Tensor, labels: dict[str, Tensor], layout: Layout | None = None):
    seg = SEG if layout is None else layout.pack(SEG)
    return target(hidden, labels, seg=seg, layout=layout, run=lambda streams: hidden)


def by_hand(logits: Tensor, labels: Tensor) -> float:
    return float(
        torch.nn.functional.cross_entropy(logits.flatten(0, -2).double(), labels.flatten(), reduction="sum")
    )


def labels_of(*shape: int) -> Tensor:
    labels = torch.randint(0, V, shape)
    labels[torch.rand(shape) < 0.5] = IGNORE
    labels[..., 0] = 0  # id 0 is a token
    return labels


@pytest.mark.parametrize("packed", [False, True])
def test_every_target_against_its_head(packed: bool) -> None:
    torch.manual_seed(1)
    layout = Layout.from_seg(SEG) if packed else None
    grid = torch.randn(2, 5, H)
    hidden = layout.pack(grid) if packed else grid
    tokens = labels_of(2, 5).masked_fill(SEG == 0, IGNORE)
    shaped = layout.pack(tokens) if packed else tokens
    mlm = MlmTarget(H, 6, V, hidden_act="gelu", layer_norm=LayerNorm(6))
    inner = mlm.layer_norm(torch.nn.functional.gelu(mlm.linear_1(grid)))
    assert float(call(mlm, hidden, {"mlm": shaped}, layout)["mlm"].loss_sum) == pytest.approx(
        by_hand(mlm.linear_2(inner), tokens), rel=1e-5
    )
    lm = LmTarget(H, V, bias=False)
    assert float(call(lm, hidden, {"lm": shaped}, layout)["lm"].loss_sum) == pytest.approx(
        by_hand(lm.output_layer(grid), tokens), rel=1e-5
    )
    bilm = BilmTarget(H, V)
    terms = call(bilm, hidden, {"bilm_forward": shaped, "bilm_backward": shaped}, layout)
    for name, half in (("bilm_forward", grid[..., : H // 2]), ("bilm_backward", grid[..., H // 2 :])):
        assert float(terms[name].loss_sum) == pytest.approx(
            by_hand(bilm.output_layer(half), tokens), rel=1e-5
        )
    sp, rows = SpTarget(H), torch.tensor([0, 1])
    logits = sp.linear_2(torch.tanh(sp.linear_1(grid[:, 0])))
    assert float(call(sp, hidden, {"sp": rows}, layout)["sp"].loss_sum) == pytest.approx(
        by_hand(logits, rows)
    )
    cls = ClsTarget(H, 3, pooling="last")
    logits = cls.linear_2(torch.tanh(cls.linear_1(torch.stack([grid[0, 3], grid[1, 4]]))))
    assert float(call(cls, hidden, {"cls": rows}, layout)["cls"].loss_sum) == pytest.approx(
        by_hand(logits, rows)
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("bias", [False, True])
def test_losses_by_pieces_are_those_of_all_logits(
    smoothing: float, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vocabulary, "FEWEST_ROWS", 3)
    monkeypatch.setitem(vocabulary.LOGITS, "cpu", 1)
    torch.manual_seed(2)
    output, labels = torch.nn.Linear(H, V, bias=bias).double(), labels_of(4, 5)
    hidden = torch.randn(4, 5, H, dtype=torch.float64, requires_grad=True)
    inputs = [hidden, *output.parameters()]
    ours = vocabulary_term(hidden, output, labels, label_smoothing=smoothing)
    exact = term(output(hidden).flatten(0, 1), labels.flatten(), label_smoothing=smoothing)
    torch.testing.assert_close(tuple(ours), tuple(exact))
    torch.testing.assert_close(
        torch.autograd.grad(ours.loss_sum * 0.3, inputs), torch.autograd.grad(exact.loss_sum * 0.3, inputs)
    )
    kept = []
    monkeypatch.setattr(vocabulary, "_add_gradients", lambda grads, *_: kept.extend(grads))
    with torch.no_grad():
        again = vocabulary_term(hidden, output, labels, label_smoothing=smoothing)
    torch.testing.assert_close(tuple(again), tuple(exact))
    assert kept and not any(grad is not None for grad in kept)


def test_losses_by_pieces_in_bf16_and_with_frozen_parts() -> None:
    torch.manual_seed(3)
    output, labels = torch.nn.Linear(H, V), labels_of(40)
    hidden = torch.randn(40, H, requires_grad=True)
    exact = term(output(hidden), labels)
    expected = torch.autograd.grad(exact.loss_sum, [hidden, *output.parameters()])
    with torch.autocast("cpu", torch.bfloat16):
        ours = vocabulary_term(hidden, output, labels)
    assert ours.loss_sum.dtype == torch.float32
    found = torch.autograd.grad(ours.loss_sum, [hidden, *output.parameters()])
    assert all(gradient.dtype == torch.float32 for gradient in found)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0.05)
    output.requires_grad_(False)
    loss = vocabulary_term(hidden, output, labels).loss_sum
    loss.backward(retain_graph=True)
    torch.testing.assert_close(hidden.grad, expected[0])
    with pytest.raises(RuntimeError, match="handed out already"):
        loss.backward()


def test_unlabelled_positions_never_reach_the_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    seen, labels = [], torch.full((2, 5), IGNORE)
    labels[0, 1] = labels[1, 3] = 4
    whole = vocabulary._loss_and_gradient
    monkeypatch.setattr(vocabulary, "_loss_and_gradient", lambda *a: seen.append(len(a[0])) or whole(*a))
    call(
        MlmTarget(H, H, V, hidden_act="relu", layer_norm=LayerNorm(H)), torch.randn(2, 5, H), {"mlm": labels}
    )
    call(LmTarget(H, V, bias=False), torch.randn(2, 5, H), {"lm": labels})
    assert seen == [2, 2]


def test_prefix_loss_counts_what_the_second_text_is_predicted_from() -> None:
    predicting = torch.tensor([[0, 1, 1, 1, 0], [1, 1, 1, 1, 1]]).bool()
    assert torch.equal(predicts_second_text(SEG, None) & (SEG > 0), predicting)
    layout = Layout.from_seg(SEG)
    assert torch.equal(predicts_second_text(layout.pack(SEG), layout), layout.pack(predicting))
    target = LmTarget(H, V, bias=False, prefix_loss=True)
    labels = torch.ones(2, 5, dtype=torch.long).masked_fill(SEG == 0, IGNORE)
    assert int(call(target, torch.randn(2, 5, H), {"lm": labels})["lm"].count) == 8
