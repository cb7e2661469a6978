"""From a configuration to a model: every part spelled out with its sizes, in one place."""

from __future__ import annotations

import math

from torch import nn

from uer.config.model import PARTNERS, RECURRENT, ModelConfig
from uer.decoders import DECODERS
from uer.embeddings import EMBEDDINGS
from uer.embeddings.embedding import Embedding
from uer.encoders import ENCODERS
from uer.errors import ConfigError
from uer.layers.attention import MultiHeadedAttention
from uer.layers.feed_forward import feed_forward
from uer.layers.norms import norm
from uer.layers.positions import RelativePositionBias
from uer.layers.transformer import TransformerDecoderLayer, TransformerLayer
from uer.models.model import Model, Targets
from uer.models.teacher import build_teacher_target
from uer.targets import TARGETS
from uer.utils.lazy import pick_class


def build_model(
    config: ModelConfig, vocab_size: int, tgt_vocab_size: int | None = None, *, alone: bool = False
) -> Model:
    """The whole model with its targets; shared and tied tensors are one parameter.

    Args:
        vocab_size: of the source tokenizer.
        tgt_vocab_size: of the target tokenizer, when it is another one.
        alone: without the models beside it, which somebody else provides.

    Raises:
        ConfigError: the parts do not fit together.
    """
    body = build_body(config, vocab_size, tgt_vocab_size)
    beside = () if alone else config.partners
    out_size = (tgt_vocab_size or vocab_size) if config.decoder else vocab_size
    targets = {name: build_target(name, config, out_size) for name in config.target}
    model = Model(
        config,
        embedding=body.embedding,
        encoder=body.encoder,
        tgt_embedding=body.tgt_embedding,
        decoder=body.decoder,
        target=Targets(targets) if targets else None,
        partners={name: build_model(config.partner(name), vocab_size) for name in beside},
    )
    if config.tie_weights:
        _tie_output(model)
    if model.generator is not None:
        share_parts(model, config.generator_shares)
    return model


def build_body(config: ModelConfig, vocab_size: int, tgt_vocab_size: int | None = None) -> Model:
    """The model without targets, for a downstream task to put its head on."""
    tgt_embedding = decoder = None
    embedding = build_embedding(config, config.embedding, vocab_size)
    if config.decoder:
        tgt_embedding = build_embedding(
            config, config.tgt_embedding or ("word",), tgt_vocab_size or vocab_size
        )
        decoder = build_decoder(config)
        if config.share_embedding:
            _share(tgt_embedding.word.embedding, embedding.word.embedding, "--share_embedding")
    return Model(
        config,
        embedding=embedding,
        encoder=build_encoder(config),
        tgt_embedding=tgt_embedding,
        decoder=decoder,
    )


def build_embedding(config: ModelConfig, parts: tuple[str, ...], vocab_size: int) -> Embedding:
    """The embedding of the named parts."""
    if parts == ("dual",):
        return Embedding({"dual": _dual_embedding(config, vocab_size)}, layer_norm=None, dropout=0.0)
    sinusoidal = "sinusoidalpos" in (parts if config.sinusoid == "2021" else config.embedding)
    width = config.hidden_size if config.widens_words else config.emb_size
    widened = config.hidden_size if config.widens_words else None
    arguments = {
        "word": {
            "vocab_size": vocab_size,
            "emb_size": config.emb_size,
            "scaled": sinusoidal,
            "widened": widened,
        },
        "pos": {"max_seq_length": config.max_seq_length, "emb_size": width},
        "seg": {"emb_size": width, "rows": config.segments_num},
        "task": {"emb_size": width, "rows": config.tasks_num},
        "sinusoidalpos": {
            "max_seq_length": config.max_seq_length,
            "emb_size": width,
            "sinusoid": config.sinusoid,
        },
    }
    built = {name: pick_class(name, EMBEDDINGS, "--embedding")(**arguments[name]) for name in parts}
    # UER-py 2021 never normed an embedding with sinusoids, whatever the flag said.
    plain = config.remove_embedding_layernorm or ("sinusoidalpos" in parts and config.sinusoid == "2021")
    return Embedding(
        built,
        layer_norm=None if plain else _embedding_norm(config, width),
        dropout=config.dropout,
    )


def _dual_embedding(config: ModelConfig, vocab_size: int) -> nn.Module:
    streams = [config.stream(number) for number in (0, 1)]
    first = build_embedding(streams[0], streams[0].embedding, vocab_size)
    second = first if config.tie_weights else build_embedding(streams[1], streams[1].embedding, vocab_size)
    norms = None
    if config.dual_stream_norm:
        norms = tuple(_embedding_norm(stream, stream.emb_size) for stream in streams)
    return pick_class("dual", EMBEDDINGS, "--embedding")(first, second, norms=norms)


def build_encoder(config: ModelConfig) -> nn.Module:
    """The encoder."""
    encoder = pick_class(config.encoder, ENCODERS, "--encoder")
    if config.encoder == "dual":
        first = build_encoder(config.stream(0))
        return encoder(first, first if config.tie_weights else build_encoder(config.stream(1)))
    if config.encoder in RECURRENT:
        common = {"dropout": config.dropout, "layers_num": config.layers_num}
        if not config.encoder.startswith("bi"):
            common["bidirectional"] = config.bidirectional
        return encoder(config.emb_size, config.hidden_size, **common)
    if config.encoder == "gatedcnn":
        return encoder(
            config.emb_size,
            config.hidden_size,
            layers_num=config.layers_num,
            kernel_size=config.kernel_size,
            block_size=config.block_size,
        )
    shared = config.parameter_sharing
    layers = [_encoder_layer(config) for _ in range(1 if shared else config.layers_num)]
    return encoder(
        transformer=layers[0] if shared else nn.ModuleList(layers),
        layers_num=config.layers_num,
        mask=config.mask,
        layer_norm=_final_norm(config),
        linear=(nn.Linear(config.emb_size, config.hidden_size) if config.widens_sum else None),
        relative_pos_emb=_position_bias(config, bidirectional=True),
        residual=config.has_residual_attention,
    )


def build_decoder(config: ModelConfig) -> nn.Module:
    """The decoder."""
    return pick_class(config.decoder, DECODERS, "--decoder")(
        transformer_decoder=nn.ModuleList(_decoder_layer(config) for _ in range(config.decoder_depth)),
        layer_norm=_final_norm(config),
        self_pos_emb=_position_bias(config, bidirectional=False),
    )


def build_target(name: str, config: ModelConfig, vocab_size: int) -> nn.Module:
    """One target.

    Raises:
        ConfigError: `cls` without `--labels_num`.
    """
    target, width = pick_class(name, TARGETS, "--target"), config.hidden_size
    if name == "mlm":
        inner = config.emb_size if config.widens_sum else width
        return target(
            width,
            inner,
            vocab_size,
            hidden_act=config.hidden_act,
            layer_norm=_embedding_norm(config, inner),
            narrowed=config.emb_size if config.widens_words else None,
        )
    if name == "lm":
        return target(
            width,
            vocab_size,
            bias=config.has_lmtarget_bias,
            scale=1 / math.sqrt(width) if config.scale_lm_output else 1.0,
            prefix_loss=config.prefix_lm_loss,
            label_smoothing=config.label_smoothing,
        )
    if name == "bilm":
        return target(width, vocab_size)
    if name == "students":
        numbers = range(len(config.students))
        return target([build_model(config.student(k), vocab_size, alone=True) for k in numbers])
    if name in PARTNERS["teacher"]:
        return build_teacher_target(name, target, config)
    if name == "sp":
        return target(width, config.sp_labels_num)
    if name == "polarity":
        return target(width)
    if name == "pair":
        return target(width, vocab_size)
    if name == "rtd":
        return target(width, hidden_act=config.hidden_act)
    if name == "mts":
        return target(width, config.emb_size, vocab_size, hidden_act=config.hidden_act)
    if name == "csp":
        return target(width, config.csp_size, dropout=config.dropout)
    if name == "pert":
        norm_ = _embedding_norm(config, width)
        return target(width, config.max_seq_length, hidden_act=config.hidden_act, layer_norm=norm_)
    if name == "cls":
        if config.labels_num is None:
            raise ConfigError("--target cls needs --labels_num, the number of classes.")
        return target(width, config.labels_num, pooling=config.pooling)
    return target(width)


def _attention(config: ModelConfig, *, residual: bool = False) -> MultiHeadedAttention:
    return MultiHeadedAttention(
        config.hidden_size,
        config.heads_num,
        config.head_size,
        dropout=config.dropout,
        bias=not config.remove_transformer_bias,
        scale=not config.remove_attention_scale,
        residual=residual,
    )


def _feed_forward(config: ModelConfig) -> nn.Module:
    return feed_forward(
        config.feed_forward,
        config.hidden_size,
        config.feedforward_size,
        config.hidden_act,
        bias=not config.remove_transformer_bias,
    )


def _norm(config: ModelConfig) -> nn.Module:
    return norm(config.layernorm, config.hidden_size, config.layernorm_eps)


def _final_norm(config: ModelConfig) -> nn.Module | None:
    final = config.layernorm_positioning == "pre" and not config.remove_final_layernorm
    return _norm(config) if final else None


def _embedding_norm(config: ModelConfig, size: int) -> nn.Module:
    """The norm of embeddings and MLM heads: UER keeps a layer norm there when the blocks have T5's."""
    return norm("uer" if config.layernorm == "uer" else "normal", size, config.layernorm_eps)


def _encoder_layer(config: ModelConfig) -> TransformerLayer:
    return TransformerLayer(
        self_attn=_attention(config, residual=config.has_residual_attention),
        feed_forward=_feed_forward(config),
        layer_norm_1=_norm(config),
        layer_norm_2=_norm(config),
        dropout=config.dropout,
        positioning=config.layernorm_positioning,
    )


def _decoder_layer(config: ModelConfig) -> TransformerDecoderLayer:
    return TransformerDecoderLayer(
        self_attn=_attention(config),
        context_attn=_attention(config),
        feed_forward=_feed_forward(config),
        layer_norm_1=_norm(config),
        layer_norm_2=_norm(config),
        layer_norm_3=_norm(config),
        dropout=config.dropout,
        positioning=config.layernorm_positioning,
    )


def _position_bias(config: ModelConfig, *, bidirectional: bool) -> RelativePositionBias | None:
    if not config.relative_position_embedding:
        return None
    return RelativePositionBias(
        config.heads_num,
        config.relative_attention_buckets_num,
        bidirectional=bidirectional,
        scale=1.0 if config.remove_attention_scale else 1 / math.sqrt(config.head_size),
    )


def _tie_output(model: Model) -> None:
    """One tensor for output layer and word embedding: mlm's and the source's, else lm's and the decoder's."""
    targets = dict(model.target.named_children()) if model.target is not None else {}
    if "mlm" in targets:
        word = model.embedding.word
        _share(targets["mlm"].linear_2, word.embedding, "--tie_weights")
        if word.projection is not None:
            _share(targets["mlm"].projection, word.projection, "--tie_weights")
    elif "lm" in targets:
        embedding = model.tgt_embedding if model.decoder is not None else model.embedding
        _share(targets["lm"].output_layer, embedding.word.embedding, "--tie_weights")


def share_parts(model: Model, names: tuple[str, ...]) -> None:
    """One tensor each for these parts of the embeddings of model and generator: the model's.

    Raises:
        ConfigError: one of the two lacks a part, or has it in another size.
    """
    own, other = model.embedding, model.generator.embedding
    for name in names:
        if getattr(own, name, None) is None or getattr(other, name, None) is None:
            raise ConfigError(
                f"generator_shares names '{name}', which the embedding of the model or of its generator "
                "lacks; leave it out."
            )
        theirs = getattr(other, name)
        for place, parameter in getattr(own, name).named_parameters():
            path, _, leaf = place.rpartition(".")
            _same_tensor(theirs.get_submodule(path), leaf, parameter, "generator_shares")
    if model.generator.config.tie_weights:
        _tie_output(model.generator)


def part_parameters(model: Model, name: str) -> list[tuple[str, nn.Parameter, nn.Parameter]]:
    """Of a part of the embedding the names, and the parameters of model and generator."""
    theirs = dict(getattr(model.generator.embedding, name).named_parameters())
    return [
        (f"embedding.{name}.{place}", parameter, theirs[place])
        for place, parameter in getattr(model.embedding, name).named_parameters()
    ]


def separate_parts(model: Model, names: tuple[str, ...]) -> None:
    """Give the generator tensors of its own for these parts, equal to those that it shared."""
    for name in names:
        for place, _, _ in part_parameters(model, name):
            model.untie(f"generator.{place}")
    if model.generator.config.tie_weights:
        _tie_output(model.generator)


def _share(module: nn.Module, source: nn.Module, flag: str) -> None:
    _same_tensor(module, "weight", source.weight, flag)


def _same_tensor(module: nn.Module, leaf: str, tensor: nn.Parameter, flag: str) -> None:
    own = getattr(module, leaf)
    if own.shape != tensor.shape:
        raise ConfigError(
            f"{flag} makes two tensors one, but their shapes are {list(own.shape)} and "
            f"{list(tensor.shape)}; leave {flag} out or make the sizes equal."
        )
    setattr(module, leaf, tensor)
