"""Cross-entropy over a vocabulary without ever holding the logits of all positions.

Logits are V numbers a position: for 4096 positions and 21 128 tokens 350 MB, and autograd would keep them
twice more. Here some hundred positions at a time go through the output layer, and their gradients are made on
the spot, as the loss is a sum whose own gradient is one number.

Shapes: M labelled positions, H width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from uer.layers.masks import compute_dtype
from uer.layers.norms import at_least_fp32
from uer.targets.term import Term, labelled, term

# Logits held at a time. A graphics card needs more rows in one product to be busy.
LOGITS = {"cpu": 1 << 24, "cuda": 1 << 27}
FEWEST_ROWS = 256  # each turn reads and writes the gradient of the whole output layer
CACHED = 1 << 20  # logits that a CPU turns into gradients at a time: they stay in its cache

Look = Callable[[Tensor, Tensor], None]
"""takes the logits [m, V] of some positions in fp32, which it leaves as they are, and their labels [m]"""


def vocabulary_term(
    hidden: Tensor,
    output: nn.Module,
    labels: Tensor,
    *,
    label_smoothing: float = 0.0,
    look: Look | None = None,
) -> Term:
    """The term of softmax(output(hidden)) against labels, as `uer.targets.term.term` of the logits.

    Args:
        hidden: [..., H]. labels: [...], -100 where nothing is predicted: such positions are left out.
        output: H → V; a linear layer, unless its weights are quantised.
        look: is shown all logits, position after position; it gets no gradient.
    """
    hidden, labels = labelled(hidden, labels)
    if not isinstance(output, nn.Linear):  # weights kept in another form, for reading only
        logits = output(hidden)
        if look is not None:
            look(at_least_fp32(logits.detach()), labels)
        return term(logits, labels, label_smoothing=label_smoothing)
    # Inside of `forward` gradients are always off, so whether they are wanted is asked here.
    train = torch.is_grad_enabled()
    loss, correct = _VocabularyLoss.apply(
        hidden, output.weight, output.bias, labels, label_smoothing, train, look
    )
    return Term(loss, torch.full((), labels.numel(), device=labels.device), correct)


class _Begun(NamedTuple):
    """What a pass over rows of logits begins with; loss, correct and grads are added to."""

    x: Tensor
    """hidden [N, H], as it is multiplied"""
    w: Tensor
    """weight [V, H], as it is multiplied"""
    loss: Tensor
    correct: Tensor
    grads: list[Tensor | None]
    """of hidden, weight and bias; None where it is not wanted"""


def _begun(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, train: bool) -> _Begun:
    """Nothing is added up yet."""
    dtype = compute_dtype(hidden)
    loss = torch.zeros((), dtype=torch.promote_types(dtype, torch.float32), device=hidden.device)
    correct = torch.zeros((), dtype=torch.long, device=hidden.device)
    needed = ((t, train and need) for t, need in zip((hidden, weight, bias), ctx.needs_input_grad))
    grads = [torch.zeros_like(tensor) if need else None for tensor, need in needed]
    return _Begun(hidden.to(dtype), weight.to(dtype), loss, correct, grads)


class _VocabularyLoss(torch.autograd.Function):
    """Summed cross-entropy and number right; the gradients are made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        labels: Tensor,
        smoothing: float,
        train: bool,
        look: Look | None,
    ) -> tuple[Tensor, Tensor]:
        """hidden [N, H], weight [V, H], bias [V], labels [N] → the summed loss and the number right;
        the logits of some rows at a time.
        """
        x, w, loss, correct, grads = _begun(ctx, hidden, weight, bias, train)
        size = max(FEWEST_ROWS, LOGITS.get(hidden.device.type, 1 << 24) // weight.shape[0])
        with torch.autocast(hidden.device.type, enabled=False):
            for start in range(0, len(labels), size):
                rows = slice(start, start + size)
                logits = F.linear(x[rows], w)
                part, right = _loss_and_gradient(logits, bias, labels[rows], smoothing, grads[2], look)
                loss += part
                correct += right
                _add_gradients(grads[:2], rows, logits, x[rows], w)
        ctx.grads = grads
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        """The gradients that `forward` made, times the loss's own.

        Raises:
            RuntimeError: they were handed out before.
        """
        grads, ctx.grads = ctx.grads, None
        if grads is None:
            raise RuntimeError(
                "the gradients of this loss were handed out already; run the forward pass again."
            )
        return (
            *(None if grad is None else grad.mul_(gradient.to(grad.dtype)) for grad in grads),
            None,
            None,
            None,
            None,
        )


def _loss_and_gradient(
    logits: Tensor,
    bias: Tensor | None,
    labels: Tensor,
    smoothing: float,
    by_bias: Tensor | None,
    look: Look | None,
) -> tuple[Tensor, Tensor]:
    """Summed loss and number right; `logits` [m, V], still without bias, become the gradient of the loss.

    Computed in fp32, some rows at a time on a CPU. The gradient is p − (1 − s − ε)·onehot − ε, with s the
    smoothing and ε = s/(V − 1); its sum over the rows is added to `by_bias`.
    """
    share = smoothing / (logits.shape[1] - 1)
    keep = 1 - smoothing - share
    size = max(1, CACHED // logits.shape[1]) if logits.device.type == "cpu" else len(logits)
    loss, correct = 0.0, 0
    for kept, label in zip(logits.split(size), labels[:, None].split(size)):
        rows = at_least_fp32(kept)
        if bias is not None:
            rows += bias
        if look is not None:
            look(rows, label.squeeze(1))
        top, own = rows.amax(dim=1, keepdim=True), rows.gather(1, label)
        total = rows.sum() if smoothing else 0.0
        p = torch.softmax(rows, dim=1)
        log_normal = top - p.amax(dim=1, keepdim=True).log()  # no other p is sure to be above zero
        loss = loss + keep * (log_normal - own).sum()
        if smoothing:
            loss = loss + share * (log_normal.sum() * logits.shape[1] - total)
        p.scatter_add_(1, label, torch.full_like(own, -keep))
        if smoothing:
            p.sub_(share)
        if by_bias is not None:
            by_bias += p.sum(dim=0)
        kept.copy_(p)
        correct = correct + (own >= top).sum()  # a tie counts as right, as in `term`
    return loss, correct


def _add_gradients(grads: list[Tensor | None], rows: slice, logits: Tensor, x: Tensor, w: Tensor) -> None:
    """Add what the rows contribute; `logits` [m, V] holds the gradient of the loss by them."""
    by_hidden, by_weight = grads
    if by_hidden is not None:
        by_hidden[rows] = logits @ w
    if by_weight is not None:
        if by_weight.dtype == x.dtype:
            by_weight.addmm_(logits.T, x)
        elif rows.start == 0:  # nothing is there yet
            by_weight.copy_(logits.T @ x)
        else:
            by_weight += logits.T @ x


def soft_vocabulary_term(
    hidden: Tensor, output: nn.Linear, wanted: Tensor, wanted_output: nn.Module, *, temperature: float
) -> Term:
    """τ²·KL(softmax(wanted_output(wanted)/τ) ‖ softmax(output(hidden)/τ)), summed over positions.

    Args:
        hidden: [M, E] of the student, wanted: [M, K] of the teacher.
        temperature: τ.

    Returns:
        the term; right are positions at which both find the same entry likeliest.
    """
    train = torch.is_grad_enabled()
    loss, correct = _SoftLoss.apply(
        hidden, output.weight, output.bias, wanted, wanted_output, temperature, train
    )
    return Term(loss, torch.full((), len(hidden), device=hidden.device), correct)


class _SoftLoss(torch.autograd.Function):
    """The summed divergence, and how often both agree; the gradients are made in the forward pass."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        wanted: Tensor,
        wanted_output: nn.Module,
        temperature: float,
        train: bool,
    ) -> tuple[Tensor, Tensor]:
        """hidden [N, H], weight [V, H], bias [V], wanted [N, …] → the summed loss, how often both agree."""
        x, w, loss, correct, grads = _begun(ctx, hidden, weight, bias, train)
        size = max(FEWEST_ROWS, LOGITS.get(hidden.device.type, 1 << 24) // (2 * weight.shape[0]))
        for start in range(0, len(hidden), size):
            rows = slice(start, start + size)
            theirs = at_least_fp32(wanted_output(wanted[rows])).div_(temperature)
            with torch.autocast(hidden.device.type, enabled=False):
                own = at_least_fp32(F.linear(x[rows], w))
                own = (own if bias is None else own + bias) / temperature
                correct += (own.argmax(dim=1) == theirs.argmax(dim=1)).sum()
                own, theirs = own.log_softmax(dim=1), theirs.log_softmax(dim=1)
                p = theirs.exp()
                loss += temperature**2 * (p * (theirs - own)).sum()
                # By a logit: τ² · 1/τ · (its own probability − the teacher's).
                gradient = own.exp_().sub_(p).mul_(temperature)
                if grads[2] is not None:
                    grads[2] += gradient.sum(dim=0)
                _add_gradients(grads[:2], rows, gradient.to(w.dtype), x[rows], w)
        ctx.grads = grads
        ctx.mark_non_differentiable(correct)
        return loss, correct

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Any) -> tuple[Tensor | None, ...]:
        """See `_VocabularyLoss.backward`."""
        return (*_VocabularyLoss.backward(ctx, gradient, _)[:3], None, None, None, None)
