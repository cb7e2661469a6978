"""FGM and PGD against UER-py's own losses, perturbed tables and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from uer.config.training import ATTACKS, AdversarialOptions
from uer.errors import ConfigError
from uer.training.adversarial import build_attack


class Classifier(nn.Module):
    """The golden case's classifier (BERT body, UER's layer norm, pooling first), from its formulas."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        super().__init__()
        self.weights = nn.ParameterDict(
            {key.replace(".", "/"): nn.Parameter(v.clone()) for key, v in state.items()}
        )

    def named_parameters(self, *args, **kwargs):
        for name, param in super().named_parameters(*args, **kwargs):
            yield name.removeprefix("weights.").replace("/", "."), param

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return (
            x @ self.weights[f"{name}.weight".replace(".", "/")].T
            + self.weights[f"{name}.bias".replace(".", "/")]
        )

    def _norm(self, x: Tensor, name: str) -> Tensor:
        gamma, beta = (
            self.weights[f"{name}/gamma".replace(".", "/")],
            self.weights[f"{name}/beta".replace(".", "/")],
        )
        return gamma * (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6) + beta

    def forward(self, src: Tensor, seg: Tensor, tgt: Tensor) -> Tensor:
        w = self.weights
        x = w["embedding/word/embedding/weight"][src] + w["embedding/seg/embedding/weight"][seg]
        x = self._norm(x + w["embedding/pos/embedding/weight"][: src.shape[1]], "embedding.layer_norm")
        hidden = (seg > 0)[:, None, None, :]
        for layer in range(2):
            name = f"encoder.transformer.{layer}"
            q, k, v = (
                self._linear(x, f"{name}.self_attn.linear_layers.{j}").unflatten(-1, (4, 8)).transpose(1, 2)
                for j in range(3)
            )
            scores = q @ k.transpose(-1, -2) / 8**0.5 + (1.0 - hidden.float()) * -10000.0
            y = (scores.softmax(-1) @ v).transpose(1, 2).flatten(-2)
            x = self._norm(x + self._linear(y, f"{name}.self_attn.final_linear"), f"{name}.layer_norm_1")
            y = nn.functional.gelu(self._linear(x, f"{name}.feed_forward.linear_1"))
            x = self._norm(x + self._linear(y, f"{name}.feed_forward.linear_2"), f"{name}.layer_norm_2")
        logits = self._linear(torch.tanh(self._linear(x[:, 0], "output_layer_1")), "output_layer_2")
        return nn.functional.cross_entropy(logits, tgt)


@pytest.mark.parametrize("variant", ["plain", "fgm_default", "fgm_eps1", "pgd_default", "pgd_projected"])
def test_losses_tables_and_gradients_equal_uer_pys(golden, variant):
    about, tensors = golden("adv_fgm_pgd")
    model = Classifier({k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")})
    params = dict(model.named_parameters())
    losses, tables = [], []

    def backward() -> None:
        loss = model(tensors["in.src"], tensors["in.seg"], tensors["in.tgt"])
        losses.append(loss.item())
        tables.append({name: param.detach().clone() for name, param in params.items()})
        loss.backward()

    settings = about["variants"][variant]
    attack = build_attack(model, AdversarialOptions(use_adv=bool(settings), **settings))
    backward()
    if attack:
        attack(backward)
    assert losses == pytest.approx(tensors[f"out.{variant}.losses"].tolist(), rel=1e-4, abs=1e-5)
    checked = 0
    for key, expected in tensors.items():
        if key.startswith(f"out.{variant}.forward"):
            step, _, name = key.removeprefix(f"out.{variant}.forward").partition(".")
            torch.testing.assert_close(tables[int(step)][name], expected, atol=1e-5, rtol=1e-4)
        elif key.startswith(f"out.{variant}.grad."):
            grad = params[key.removeprefix(f"out.{variant}.grad.")].grad
            # Four steps along normed gradients pile up rounding: float64 is 3e-5 away from UER's own float32.
            atol = 5e-5 if variant == "pgd_projected" else 1e-5
            torch.testing.assert_close(grad, expected, atol=atol, rtol=1e-4)
            checked += 1
    assert checked == 4
    for name, param in params.items():
        assert torch.equal(param, tensors[f"state.{name}"]), f"{name} was not put back"


@pytest.mark.parametrize("adv_type", ATTACKS)
def test_only_embeddings_are_moved_and_flat_or_broken_gradients_move_nothing(adv_type):
    model = nn.ModuleDict(
        {"embedding": nn.Embedding(3, 2), "embedding_b": nn.Linear(2, 1), "other": nn.Linear(2, 1)}
    )
    attack = build_attack(model, AdversarialOptions(use_adv=True, adv_type=adv_type, fgm_epsilon=1.0))
    before = {name: param.detach().clone() for name, param in model.named_parameters()}
    model["embedding"].weight.grad = torch.zeros(3, 2)
    model["embedding_b"].weight.grad = torch.full((1, 2), float("nan"))
    model["other"].weight.grad = torch.ones(1, 2)
    seen = []
    attack(lambda: seen.append({name: param.detach().clone() for name, param in model.named_parameters()}))
    assert len(seen) == (1 if adv_type == "fgm" else 3)
    for state in seen:
        assert all(torch.equal(state[name], before[name]) for name in before)


def test_no_attack_unless_asked_and_names_are_checked():
    assert build_attack(nn.Linear(1, 1), AdversarialOptions()) is None
    with pytest.raises(ConfigError, match=r"--adv_type is 'fgmm'; choose from fgm, pgd\. Did you mean 'fgm'"):
        AdversarialOptions(adv_type="fgmm")
