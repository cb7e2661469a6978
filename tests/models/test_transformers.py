"""The parts against transformers: tiny random models, weights mapped by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from transformers import (
    AlbertConfig,
    AlbertModel,
    BertConfig,
    BertForPreTraining,
    GPT2Config,
    GPT2LMHeadModel,
    MT5Config,
    MT5ForConditionalGeneration,
)

from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.model import Model

VOCAB = 60
SIZES = {"emb_size": 32, "hidden_size": 32, "feedforward_size": 64, "heads_num": 4, "layers_num": 2}
SIZES |= {"max_seq_length": 40, "dropout": 0.0}
CLOSE = {"atol": 1e-5, "rtol": 1e-5}


def shaken(model: nn.Module, std: float) -> nn.Module:
    """Random weights, biases and gains, so that a forgotten one shows."""
    torch.manual_seed(11)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0, std)
            elif name.endswith("bias"):
                parameter.normal_(0, 0.1)
            else:
                parameter.normal_(1, 0.1)
    return model.eval()


def fill(model: Model, theirs: dict[str, Tensor], rows: dict[str, str | Callable[[], Tensor]]) -> Model:
    """Our names → theirs, or a function that makes the tensor; every parameter of ours must be named."""
    state = {name: theirs[row] if isinstance(row, str) else row() for name, row in rows.items()}
    model.load_state_dict(state, strict=True)
    return model.eval()


def linear(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{leaf}": f"{theirs}.{leaf}" for leaf in ("weight", "bias")}


def normed(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.gamma": f"{theirs}.weight", f"{ours}.beta": f"{theirs}.bias"}


def texts() -> tuple[Tensor, Tensor]:
    torch.manual_seed(12)
    src, seg = torch.randint(1, VOCAB, (2, 11)), torch.ones(2, 11, dtype=torch.long)
    seg[:, 5:] = 2
    src[1, 8:] = seg[1, 8:] = 0
    return src, seg


@pytest.mark.parametrize("std", [0.15, 0.02])
@torch.no_grad()
def test_bert(std: float) -> None:
    theirs = shaken(
        BertForPreTraining(
            BertConfig(vocab_size=VOCAB, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                       intermediate_size=64, max_position_embeddings=40, layer_norm_eps=1e-12)
        ),
        std,
    )  # fmt: skip
    state = theirs.state_dict()
    segments = state["bert.embeddings.token_type_embeddings.weight"]
    rows: dict = {
        "embedding.word.embedding.weight": "bert.embeddings.word_embeddings.weight",
        "embedding.pos.embedding.weight": "bert.embeddings.position_embeddings.weight",
        "embedding.seg.embedding.weight": lambda: torch.cat([torch.zeros(1, 32), segments]),
        **normed("embedding.layer_norm", "bert.embeddings.LayerNorm"),
        **linear("target.sp.linear_1", "bert.pooler.dense"),
        **linear("target.sp.linear_2", "cls.seq_relationship"),
        **linear("target.mlm.linear_1", "cls.predictions.transform.dense"),
        **normed("target.mlm.layer_norm", "cls.predictions.transform.LayerNorm"),
        **linear("target.mlm.linear_2", "cls.predictions.decoder"),
    }
    for i in range(2):
        ours, layer = f"encoder.transformer.{i}", f"bert.encoder.layer.{i}"
        for j, name in enumerate(("query", "key", "value")):
            rows |= linear(f"{ours}.self_attn.linear_layers.{j}", f"{layer}.attention.self.{name}")
        rows |= linear(f"{ours}.self_attn.final_linear", f"{layer}.attention.output.dense")
        rows |= normed(f"{ours}.layer_norm_1", f"{layer}.attention.output.LayerNorm")
        rows |= linear(f"{ours}.feed_forward.linear_1", f"{layer}.intermediate.dense")
        rows |= linear(f"{ours}.feed_forward.linear_2", f"{layer}.output.dense")
        rows |= normed(f"{ours}.layer_norm_2", f"{layer}.output.LayerNorm")
    config = ModelConfig(**SIZES, target=("mlm", "sp"), layernorm_eps=1e-12, tie_weights=True)
    model = fill(build_model(config, VOCAB), state, rows)
    src, seg = texts()
    real = seg > 0
    out = theirs(
        input_ids=src,
        attention_mask=real.long(),
        token_type_ids=(seg - 1).clamp(min=0),
        output_hidden_states=True,
    )
    ours = model.encode({"src": src, "seg": seg}, all_layers=True)
    for mine, other in zip(ours.layers, out.hidden_states, strict=True):
        torch.testing.assert_close(mine[real], other[real], **CLOSE)
    logits = model.target.mlm.logits(ours.hidden)
    torch.testing.assert_close(logits[real], out.prediction_logits[real], **CLOSE)
    torch.testing.assert_close(
        model.target.sp.logits(ours.hidden[:, 0]), out.seq_relationship_logits, **CLOSE
    )
    labels = torch.where(torch.rand(2, 11) < 0.4, torch.randint(0, VOCAB, (2, 11)), -100).masked_fill(
        ~real, -100
    )
    terms = model({"src": src, "seg": seg}, {"mlm": labels, "sp": torch.tensor([0, 1])})
    loss = theirs(
        input_ids=src, attention_mask=real.long(), token_type_ids=(seg - 1).clamp(min=0),
        labels=labels, next_sentence_label=torch.tensor([0, 1]),
    ).loss  # fmt: skip
    total = sum(term.loss_sum / term.count for term in terms.values())
    torch.testing.assert_close(total, loss, atol=2e-6, rtol=1e-6)


@pytest.mark.parametrize("std", [0.15, 0.02])
@torch.no_grad()
def test_gpt2(std: float) -> None:
    theirs = shaken(
        GPT2LMHeadModel(
            GPT2Config(vocab_size=VOCAB, n_positions=40, n_embd=32, n_layer=2, n_head=4, n_inner=64)
        ),
        std,
    )  # fmt: skip
    state = theirs.state_dict()
    rows: dict = {
        "embedding.word.embedding.weight": "transformer.wte.weight",
        "embedding.pos.embedding.weight": "transformer.wpe.weight",
        "target.lm.output_layer.weight": "lm_head.weight",
        **normed("encoder.layer_norm", "transformer.ln_f"),
    }
    for i in range(2):
        ours, block = f"encoder.transformer.{i}", f"transformer.h.{i}"
        for j in range(3):
            for leaf in ("weight", "bias"):
                tensor = state[f"{block}.attn.c_attn.{leaf}"].chunk(3, dim=-1)[j]
                tensor = tensor.T if leaf == "weight" else tensor
                rows[f"{ours}.self_attn.linear_layers.{j}.{leaf}"] = lambda tensor=tensor: tensor
        for mine, other in (
            ("self_attn.final_linear", "attn.c_proj"),
            ("feed_forward.linear_1", "mlp.c_fc"),
            ("feed_forward.linear_2", "mlp.c_proj"),
        ):
            for leaf in ("weight", "bias"):
                tensor = state[f"{block}.{other}.{leaf}"]
                tensor = tensor.T if leaf == "weight" else tensor
                rows[f"{ours}.{mine}.{leaf}"] = lambda tensor=tensor: tensor
        rows |= normed(f"{ours}.layer_norm_1", f"{block}.ln_1") | normed(
            f"{ours}.layer_norm_2", f"{block}.ln_2"
        )
    config = ModelConfig(
        **SIZES, embedding=("word", "pos"), target=("lm",), mask="causal", layernorm_positioning="pre",
        hidden_act="gelu_fast", remove_embedding_layernorm=True, tie_weights=True, layernorm_eps=1e-5,
    )  # fmt: skip
    model = fill(build_model(config, VOCAB), state, rows)
    src = texts()[0]
    hidden = model.encode({"src": src}).hidden
    torch.testing.assert_close(model.target.lm.logits(hidden), theirs(src).logits, **CLOSE)


@pytest.mark.parametrize("std", [0.15, 0.02])
@torch.no_grad()
def test_t5_v1_1(std: float) -> None:
    """Bias buckets beyond the exact ones (40 positions, 8 buckets), heads wider than H / A."""
    theirs = shaken(
        MT5ForConditionalGeneration(
            MT5Config(vocab_size=VOCAB, d_model=32, d_kv=12, d_ff=64, num_layers=2, num_heads=4,
                      relative_attention_num_buckets=8, feed_forward_proj="gated-gelu",
                      tie_word_embeddings=False, decoder_start_token_id=0)
        ),
        std,
    )  # fmt: skip
    state = theirs.state_dict()
    rows: dict = {
        "embedding.word.embedding.weight": "encoder.embed_tokens.weight",
        "tgt_embedding.word.embedding.weight": "decoder.embed_tokens.weight",
        "target.lm.output_layer.weight": "lm_head.weight",
        "encoder.layer_norm.weight": "encoder.final_layer_norm.weight",
        "decoder.layer_norm.weight": "decoder.final_layer_norm.weight",
    }
    table = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    rows["encoder.relative_pos_emb.relative_attention_bias.weight"] = f"encoder.{table}"
    rows["decoder.self_pos_emb.relative_attention_bias.weight"] = f"decoder.{table}"
    for i in range(2):
        for ours, block, names in (
            (f"encoder.transformer.{i}", f"encoder.block.{i}", {"self_attn": "layer.0.SelfAttention"}),
            (
                f"decoder.transformer_decoder.{i}",
                f"decoder.block.{i}",
                {"self_attn": "layer.0.SelfAttention", "context_attn": "layer.1.EncDecAttention"},
            ),
        ):
            for mine, other in names.items():
                for j, letter in enumerate("qkv"):
                    rows[f"{ours}.{mine}.linear_layers.{j}.weight"] = f"{block}.{other}.{letter}.weight"
                rows[f"{ours}.{mine}.final_linear.weight"] = f"{block}.{other}.o.weight"
            last = len(names)
            for mine, other in (("linear_gate", "wi_0"), ("linear_1", "wi_1"), ("linear_2", "wo")):
                rows[f"{ours}.feed_forward.{mine}.weight"] = (
                    f"{block}.layer.{last}.DenseReluDense.{other}.weight"
                )
            for j in range(last + 1):
                rows[f"{ours}.layer_norm_{j + 1}.weight"] = f"{block}.layer.{j}.layer_norm.weight"
    config = ModelConfig(
        **SIZES, attention_head_size=12, embedding=("word",), tgt_embedding=("word",), decoder="transformer",
        target=("lm",), layernorm="t5", layernorm_positioning="pre", remove_embedding_layernorm=True,
        remove_transformer_bias=True, remove_attention_scale=True, relative_position_embedding=True,
        relative_attention_buckets_num=8, feed_forward="gated", hidden_act="gelu_fast",
    )  # fmt: skip
    model = build_model(config, VOCAB)
    fill(model, state, rows)
    src = torch.randint(1, VOCAB, (2, 40))
    seg = torch.ones_like(src)
    src[1, 33:] = seg[1, 33:] = 0
    tgt = torch.randint(1, VOCAB, (2, 30))
    memory = model.encode({"src": src, "seg": seg}).hidden
    ours = model.target.lm.logits(model.decode({"tgt_in": tgt}, memory, seg).hidden)
    out = theirs(input_ids=src, attention_mask=seg, decoder_input_ids=tgt)
    torch.testing.assert_close(memory[seg > 0], out.encoder_last_hidden_state[seg > 0], **CLOSE)
    torch.testing.assert_close(ours, out.logits, **CLOSE)


@torch.no_grad()
def test_albert_shares_one_layer_behind_a_linear() -> None:
    theirs = shaken(
        AlbertModel(
            AlbertConfig(vocab_size=VOCAB, embedding_size=16, hidden_size=32, num_hidden_layers=3,
                         num_attention_heads=4, intermediate_size=64, max_position_embeddings=40,
                         hidden_act="gelu")
        ),
        0.15,
    )  # fmt: skip
    state, block = theirs.state_dict(), "encoder.albert_layer_groups.0.albert_layers.0"
    segments = state["embeddings.token_type_embeddings.weight"]
    rows: dict = {
        "embedding.word.embedding.weight": "embeddings.word_embeddings.weight",
        "embedding.pos.embedding.weight": "embeddings.position_embeddings.weight",
        "embedding.seg.embedding.weight": lambda: torch.cat([torch.zeros(1, 16), segments]),
        **normed("embedding.layer_norm", "embeddings.LayerNorm"),
        **linear("encoder.linear", "encoder.embedding_hidden_mapping_in"),
        **linear("encoder.transformer.self_attn.final_linear", f"{block}.attention.dense"),
        **normed("encoder.transformer.layer_norm_1", f"{block}.attention.LayerNorm"),
        **linear("encoder.transformer.feed_forward.linear_1", f"{block}.ffn"),
        **linear("encoder.transformer.feed_forward.linear_2", f"{block}.ffn_output"),
        **normed("encoder.transformer.layer_norm_2", f"{block}.full_layer_layer_norm"),
    }
    for j, name in enumerate(("query", "key", "value")):
        rows |= linear(f"encoder.transformer.self_attn.linear_layers.{j}", f"{block}.attention.{name}")
    config = ModelConfig(
        **{**SIZES, "emb_size": 16, "layers_num": 3}, target=(), layernorm_eps=1e-12, parameter_sharing=True,
        factorized_embedding_parameterization=True,
    )  # fmt: skip
    model = fill(build_model(config, VOCAB), state, rows)
    src, seg = texts()
    real = seg > 0
    out = theirs(input_ids=src, attention_mask=real.long(), token_type_ids=(seg - 1).clamp(min=0))
    torch.testing.assert_close(
        model.encode({"src": src, "seg": seg}).hidden[real], out.last_hidden_state[real], **CLOSE
    )
