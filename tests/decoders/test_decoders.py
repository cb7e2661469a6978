"""The decoder: tables, names, what it sees."""

from __future__ import annotations

import torch

from tests.models.zoo import batch, small
from uer.config.model import DECODERS as NAMES
from uer.decoders import DECODERS
from uer.utils.lazy import load


def test_table_holds_the_names_of_the_configuration() -> None:
    assert tuple(DECODERS) == NAMES
    assert all(issubclass(load(target), torch.nn.Module) for target in DECODERS.values())


def test_depth_and_names() -> None:
    keys = small("bart", decoder_layers_num=1).state_dict()
    assert "decoder.transformer_decoder.0.context_attn.linear_layers.2.bias" in keys
    assert not any("transformer_decoder.1." in key or key.startswith("decoder.layer_norm") for key in keys)
    keys = small("t5 decoder").state_dict()
    assert "decoder.self_pos_emb.relative_attention_bias.weight" in keys
    assert "decoder.transformer_decoder.1.layer_norm_3.weight" in keys and "decoder.layer_norm.weight" in keys


@torch.no_grad()
def test_it_sees_the_past_and_the_real_memory() -> None:
    for name in ("bart", "t5 decoder"):
        model, inputs = small(name), batch()
        tgt, memory, seg = batch(3, 6)["src"], model.encode(inputs).hidden, inputs["seg"]
        before = model.decode({"tgt_in": tgt}, memory, seg).hidden
        later = tgt.clone()
        later[:, 4:] = 7
        torch.testing.assert_close(model.decode({"tgt_in": later}, memory, seg).hidden[:, :4], before[:, :4])
        padding = memory.masked_fill((seg == 0)[..., None], 99.0)
        torch.testing.assert_close(model.decode({"tgt_in": tgt}, padding, seg).hidden, before)
        other = memory.clone()
        other[:, 0] += 1
        assert not torch.allclose(model.decode({"tgt_in": tgt}, other, seg).hidden, before)
