"""No work on padding, and none on other documents: the same numbers whatever lies around a text."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.models.zoo import DECODERS, ENCODERS, VOCAB, batch, small
from uer.errors import ConfigError
from uer.layers import layout as layout_module
from uer.layers.layout import Layout
from uer.models.model import Model

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("left", [False, True], ids=["right", "left"])
@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_packed_equals_padded_equals_alone(name: str, left: bool) -> None:
    model, inputs = small(name), batch(left=left)
    real = inputs["seg"] > 0
    packed = model.encode(inputs, all_layers=True)
    padded = model.encode(inputs, layout=None, all_layers=True)
    assert len(packed.layers) == model.config.layers_num + 1
    for ours, theirs in zip(packed.layers, padded.layers, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], **CLOSE)
    assert packed.hidden is not None and not packed.hidden[~real].any()
    torch.testing.assert_close(packed.hidden[real], packed.layers[-1][real])
    for row in range(len(real)):
        alone = model.encode({key: x[row : row + 1, real[row]] for key, x in inputs.items()}).hidden
        torch.testing.assert_close(packed.hidden[row, real[row]], alone[0], **CLOSE)
    layout = Layout.from_seg(inputs["seg"])
    torch.testing.assert_close(model.encode(inputs, layout=layout).hidden, packed.hidden[real])


@pytest.mark.parametrize("name", ENCODERS)
@torch.no_grad()
def test_documents_of_a_row_do_not_see_each_other(name: str) -> None:
    model, inputs = small(name), batch(2, 10)
    inputs["seg"][:] = 1
    inputs["doc"] = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 2, 2], [0, 0, 0, 0, 0, 0, 1, 1, 1, 1]])
    before = model.encode(inputs).hidden
    changed = {**inputs, "src": inputs["src"].clone()}
    changed["src"][0, 3:7] = (changed["src"][0, 3:7] + 7) % VOCAB
    after = model.encode(changed).hidden
    others = torch.ones(2, 10, dtype=torch.bool)
    others[0, 3:7] = False
    assert torch.equal(before[others], after[others])  # to the bit
    assert not torch.allclose(before[~others], after[~others])
    alone = model.encode({"src": inputs["src"][:1, 3:7], "seg": inputs["seg"][:1, 3:7]}).hidden
    torch.testing.assert_close(before[0, 3:7], alone[0], **CLOSE)


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_decoders_packed_equals_padded(name: str) -> None:
    model, inputs = small(name), batch()
    target = batch(3, 6)
    inputs |= {"tgt_in": target["src"], "tgt_seg": (target["seg"] > 0).long()}
    real = inputs["tgt_seg"] > 0
    padded_memory = model.encode(inputs, layout=None).hidden
    padded = model.decode(inputs, padded_memory, inputs["seg"], layout=None, all_layers=True)
    layout = Layout.from_seg(inputs["seg"])
    memory = model.encode(inputs, layout=layout).hidden
    packed = model.decode(inputs, memory, layout.pack(inputs["seg"]), memory_layout=layout, all_layers=True)
    for ours, theirs in zip(packed.layers, padded.layers, strict=True):
        torch.testing.assert_close(ours[real], theirs[real], **CLOSE)
    # A decoder of left-padded prompts: each row as if it stood alone.
    left = batch(3, 6, left=True)
    shifted = {**inputs, "tgt_in": left["src"], "tgt_seg": left["seg"]}
    out = model.decode(shifted, padded_memory, inputs["seg"], layout=None).hidden
    for row in range(3):
        single = {"tgt_in": left["src"][row : row + 1, row:]}
        alone = model.decode(single, padded_memory[row : row + 1], inputs["seg"][row : row + 1]).hidden
        torch.testing.assert_close(out[row, row:], alone[0], **CLOSE)


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_losses_and_gradients_do_not_depend_on_padding(name: str) -> None:
    model, inputs, labels = labelled(name)
    wide = {key: torch.nn.functional.pad(x, (0, 4)) for key, x in inputs.items()}
    wide_labels = {"lm": torch.nn.functional.pad(labels["lm"], (0, 4), value=-100)}
    results = [gradients(model, *pair) for pair in ((inputs, labels), (wide, wide_labels))]
    torch.testing.assert_close(results[0], results[1], **CLOSE)


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_batches_split_by_length_give_the_same_numbers(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs, labels = labelled(name)
    whole = gradients(model, inputs, labels)
    monkeypatch.setattr(layout_module, "WORTH_APART", 0)
    monkeypatch.setattr(layout_module, "SHORTER", 1.0)
    assert len(Layout.from_seg(inputs["seg"]).parts) == 3
    torch.testing.assert_close(gradients(model, inputs, labels), whole, **CLOSE)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("name", [name for name in ENCODERS if small(name).config.encoder == "transformer"])
@torch.no_grad()
def test_the_last_layer_may_compute_some_tokens_of_each_sequence(
    name: str, split: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if split:
        monkeypatch.setattr(layout_module, "WORTH_APART", 0)
        monkeypatch.setattr(layout_module, "SHORTER", 1.0)
    model, inputs = small(name), batch()
    side = model.source(inputs, "auto")
    embedded, seg = model.embedding(side.streams), side.streams["seg"]
    whole = model.encoder(embedded, seg, layout=side.layout).hidden
    first, last = side.layout.first, side.layout.last
    for only in (first, last, torch.cat([first, first + 1, last]).unique()):
        ours = model.encoder(embedded, seg, layout=side.layout, only=side.layout.only(only)).hidden
        torch.testing.assert_close(ours, whole[only], **CLOSE)


@pytest.mark.parametrize("name", ["bert", "realformer", "bart"])
def test_recomputing_layers_changes_nothing(name: str) -> None:
    model, inputs, labels = labelled(name)
    plain = gradients(model.train(), inputs, labels)
    for part in (model.encoder, model.decoder):
        if part is not None:
            part.gradient_checkpointing = True
    torch.testing.assert_close(gradients(model, inputs, labels), plain)


@pytest.mark.parametrize("name", [*ENCODERS, *DECODERS])
def test_bf16_keeps_parameters_and_losses_in_fp32(name: str) -> None:
    model, inputs, labels = labelled(name)
    exact = model(inputs, labels)["lm"].loss_sum.item()
    with torch.autocast("cpu", torch.bfloat16):
        term = model(inputs, labels)["lm"]
    assert term.loss_sum.dtype == torch.float32
    assert abs(term.loss_sum.item() - exact) < 0.02 * exact
    term.loss_sum.backward()
    assert all(p.dtype == p.grad.dtype == torch.float32 for p in model.parameters() if p.grad is not None)


def labelled(name: str) -> tuple[Model, dict[str, Tensor], dict[str, Tensor]]:
    """A model with the lm target, a batch and its labels."""
    torch.manual_seed(6)
    model, inputs = small(name, target=("lm",)), batch()
    if name in DECODERS:
        target = batch(3, 6)
        inputs |= {"tgt_in": target["src"], "tgt_seg": (target["seg"] > 0).long()}
    predicting = inputs["tgt_in"] if name in DECODERS else inputs["src"]
    return model, inputs, {"lm": predicting.roll(-1, 1).masked_fill(predicting == 0, -100)}


def gradients(model: Model, inputs: dict[str, Tensor], labels: dict[str, Tensor]) -> list[Tensor]:
    """The loss, and the gradients of all parameters."""
    model.zero_grad()
    (term,) = model(inputs, labels).values()
    term.loss_sum.backward()
    return [term.loss_sum.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)]


@torch.no_grad()
def test_positions_are_inputs() -> None:
    model, inputs = small("gpt2"), batch()
    counted = model.encode({**inputs, "pos": torch.arange(9).expand(3, 9)}).hidden
    torch.testing.assert_close(counted, model.encode(inputs).hidden)
    shifted = model.encode({**inputs, "pos": torch.arange(9).expand(3, 9) + 3}).hidden
    assert not torch.allclose(shifted, counted)


def test_too_long_an_input_names_both_numbers() -> None:
    model = small("bert", max_seq_length=8)
    with pytest.raises(ConfigError, match="9 tokens meets a model of 8 positions; lower --seq_length to 8"):
        model.encode(batch())
    inputs = {**batch(), "doc": torch.tensor([[0] * 4 + [1] * 5] * 3)}
    model.encode(inputs)  # no document is too long
    with pytest.raises(ConfigError, match="position 9 is asked for in a model of 8 positions"):
        model.encode({**batch(), "pos": torch.arange(1, 10).expand(3, 9)})
    model = small("bart", max_seq_length=8)
    long = {"tgt_in": batch()["src"]}
    with pytest.raises(ConfigError, match="lower --tgt_seq_length to 8"):
        model.decode(long, torch.zeros(3, 4, 16), torch.ones(3, 4))
    small("t5", max_seq_length=8).encode(batch())  # relative positions have no end
