"""The classes of `transformers` that parity is checked with: every family, every head, tiny settings."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.checkpoints import sizes
from uer.checkpoints.families import pick_family

V = 97  # the size of all vocabularies
BERT = {"vocab_size": V, **sizes.BERT}
ROBERTA = {"vocab_size": V, **sizes.ROBERTA}
DISTILBERT = {"vocab_size": V, **sizes.DISTILBERT}
GPT2 = {"vocab_size": V, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "pad_token_id": 0}
# The inner width of attention (4 · 12) is not the model's; the depths differ.
T5 = {
    "vocab_size": V,
    "d_model": 32,
    "d_kv": 12,
    "d_ff": 64,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}
BART = {
    "vocab_size": V,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 64,
}


@dataclass(frozen=True)
class Case:
    """One class of one family.

    Attributes:
        family: our name of the family.
        cls: the class of `transformers`.
        part: the head, a key of `Family.classes`.
        settings: of its configuration.
        variant: what the settings vary, for the name of the case.
    """

    family: str
    cls: str
    part: str
    settings: dict[str, Any] = field(hash=False)
    variant: str = ""

    @property
    def name(self) -> str:
        """A name for tests and tables."""
        return f"{self.cls}{f' {self.variant}' if self.variant else ''}"

    @property
    def decodes(self) -> bool:
        """Whether it is an encoder-decoder."""
        return self.family in ("t5", "t5-v1_1", "mt5", "bart", "pegasus")


def cases() -> list[Case]:
    """Every family with every head it has, and the variants of its configuration that compute something
    else.
    """
    bases = {
        "bert": BERT,
        "roberta": ROBERTA,
        "xlm-roberta": ROBERTA,
        "distilbert": DISTILBERT,
        "electra": {**BERT, "embedding_size": 16},
        "albert": {**BERT, "embedding_size": 16, "num_hidden_layers": 3},
        "ernie": {**BERT, "max_position_embeddings": 65, "type_vocab_size": 4},
        "megatron-bert": BERT,
        "gpt2": GPT2,
        "t5": T5,
        "t5-v1_1": {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
        "mt5": T5,
        "bart": BART,
        "pegasus": {**BART, "scale_embedding": True},
    }
    out = [
        Case(name, cls, part, settings)
        for name, settings in bases.items()
        for part, cls in pick_family(name).classes.items()
    ]
    for act in ("relu", "gelu_new", "silu"):
        out.append(Case("bert", "BertForMaskedLM", "mlm", {**BERT, "hidden_act": act}, act))
    out += [
        Case("bert", "BertForPreTraining", "mlm sp", {**BERT, "tie_word_embeddings": False}, "untied"),
        Case("bert", "BertForMaskedLM", "mlm", {**BERT, "layer_norm_eps": 1e-5}, "eps 1e-5"),
        Case("roberta", "RobertaForMaskedLM", "mlm", {**ROBERTA, "type_vocab_size": 2}, "two types"),
        Case("electra", "ElectraForMaskedLM", "mlm", {**BERT, "embedding_size": 32}, "E = H"),
        Case("electra", "ElectraForMaskedLM", "mlm", {**BERT, "embedding_size": 64}, "E > H"),
        Case("albert", "AlbertForMaskedLM", "mlm", {**bases["albert"], "hidden_act": "relu"}, "relu"),
        Case("albert", "AlbertForPreTraining", "mlm sp", {**bases["albert"], "hidden_act": "gelu_new"}, "v2"),
        Case("bert", "BertModel", "", {**BERT, "intermediate_size": 75}, "TinyBERT"),
        Case("ernie", "ErnieForPreTraining", "mlm sp", {**bases["ernie"], "hidden_act": "relu"}, "1.0"),
        Case("ernie", "ErnieForMaskedLM", "mlm", {**bases["ernie"], "use_task_id": True}, "3.0"),
        Case(
            "gpt2", "GPT2LMHeadModel", "lm", {**GPT2, "n_inner": 48, "tie_word_embeddings": False}, "untied"
        ),
        Case("gpt2", "GPT2LMHeadModel", "lm", {**GPT2, "scale_attn_weights": False}, "unscaled"),
        Case("t5", "T5ForConditionalGeneration", "lm", {**T5, "tie_word_embeddings": False}, "unscaled"),
        Case("bart", "BartForConditionalGeneration", "lm", {**BART, "activation_function": "relu"}, "relu"),
    ]
    return out
