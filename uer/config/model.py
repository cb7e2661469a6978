"""The model: which parts, which sizes. Field names are UER's flags and JSON keys; parts take sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from uer.config.options import Options, fraction, option, positive
from uer.errors import ConfigError, suggestion

# Literal tables of names: `--help` needs them without importing torch; a test holds them against the classes.
EMBEDDINGS = ("word", "pos", "seg", "sinusoidalpos", "dual", "task")
ENCODERS = ("transformer", "rnn", "lstm", "gru", "birnn", "bilstm", "bigru", "gatedcnn", "dual")
DECODERS = ("transformer",)
TARGETS = (
    "sp",
    "lm",
    "mlm",
    "bilm",
    "cls",
    "rtd",
    "mts",
    "csp",
    "pert",
    "polarity",
    "pair",
    "soft",
    "cosine",
    "states",
    "scores",
    "attention",
    "contrast",
    "students",
)
# Models that stand beside the one that is trained → the targets that need them. The name is the JSON key of
# its settings, and what its tensors' names begin with.
PARTNERS: dict[str, tuple[str, ...]] = {
    "generator": ("rtd", "mts", "csp"),
    "teacher": ("soft", "cosine", "states", "scores", "attention", "contrast"),
}
FROZEN = ("teacher",)  # those that do not learn
# What belongs to a run and not to the model that is learnt from.
OF_THE_RUN = (
    *(*PARTNERS, "generator_shares", "students", "teacher_layers", "soft_temperature"),
    *("stream_0", "stream_1"),
)
STUDENT_TARGETS = ("attention", "states")
MASKS = ("fully_visible", "causal", "causal_with_prefix")
LAYERNORMS = ("normal", "t5", "uer")
ACTIVATIONS = ("gelu", "gelu_fast", "relu", "silu", "linear", "tanh", "tanh_relu")
POOLINGS = ("first", "last", "mean", "max")
SINUSOIDS = ("2024", "2021", "pegasus")
HEAD_ACTIVATIONS = ("tanh", "relu", "gelu", "tanh_relu", "none")
RECURRENT = ("rnn", "lstm", "gru", "birnn", "bilstm", "bigru")


@dataclass(frozen=True)
class ModelConfig(Options):
    """Everything that decides the shape and the arithmetic of a model.

    Symbols in docstrings: E `emb_size`, H `hidden_size`, F `feedforward_size`, A `heads_num`, N `layers_num`.
    """

    embedding: tuple[str, ...] = option(("word", "pos", "seg"), "parts of the embedding", choices=EMBEDDINGS)
    tgt_embedding: tuple[str, ...] | None = option(
        None, "parts of the target embedding (default: word)", choices=EMBEDDINGS
    )
    encoder: str = option("transformer", "encoder type", choices=ENCODERS)
    decoder: str | None = option(None, "decoder type (default: none)", choices=DECODERS)
    target: tuple[str, ...] = option(("mlm",), "training targets", choices=TARGETS)
    mask: str = option("fully_visible", "what a position may attend to", choices=MASKS)

    emb_size: int = positive(768, "E, width of the embedding", json_only=True)
    hidden_size: int = positive(768, "H, width of encoder and decoder", json_only=True)
    feedforward_size: int = positive(3072, "F, inner width of the feed-forward layers", json_only=True)
    heads_num: int = positive(12, "A, attention heads", json_only=True)
    attention_head_size: int | None = positive(None, "width of one head (default: H // A)", json_only=True)
    layers_num: int = positive(12, "N, encoder layers", json_only=True)
    decoder_layers_num: int | None = positive(None, "decoder layers (default: N)", json_only=True)
    hidden_act: str = option(
        "gelu", "activation of feed-forward layers and heads", choices=ACTIVATIONS, json_only=True
    )
    kernel_size: int = positive(3, "rows a convolution sees (gatedcnn)", json_only=True)
    block_size: int = positive(2, "layers of a residual block (gatedcnn)", json_only=True)
    segments_num: int = positive(3, "rows of the segment table, the first of padding", json_only=True)
    tasks_num: int = positive(3, "rows of the task table (ERNIE 3.0)", json_only=True)
    max_seq_length: int = positive(512, "rows of the position table")
    dropout: float = fraction(0.1, "dropout rate, everywhere")

    remove_embedding_layernorm: bool = option(False, "no layer norm after the embedding")
    layernorm: str = option(
        "normal", "layer norm: the usual one, T5's, or UER-py's own formula", choices=LAYERNORMS
    )
    layernorm_eps: float = positive(1e-6, "epsilon of the layer norms")
    layernorm_positioning: str = option(
        "post", "layer norm after or before each sub-layer", choices=("pre", "post")
    )
    remove_final_layernorm: bool = option(
        False, "a pre-norm stack ends without a layer norm (albert_zh)", json_only=True
    )
    feed_forward: str = option("dense", "feed-forward layer", choices=("dense", "gated"))
    remove_transformer_bias: bool = option(False, "no bias in attention and feed-forward linears")
    remove_attention_scale: bool = option(
        False, "attention scores are not divided by the root of the head width"
    )
    relative_position_embedding: bool = option(False, "T5's relative position bias")
    relative_attention_buckets_num: int = positive(32, "buckets of the relative position bias")
    factorized_embedding_parameterization: bool = option(
        False, "E and H differ, a linear joins them (ALBERT)"
    )
    factorized_part: str = option(
        "sum",
        "what the linear widens: the normed sum of all embeddings (ALBERT), or the word vectors (albert_zh)",
        choices=("sum", "word"),
        json_only=True,
    )
    parameter_sharing: bool = option(False, "one layer used N times (ALBERT)")
    has_residual_attention: bool = option(
        False, "each layer adds the attention scores of the one before (RealFormer)"
    )
    bidirectional: bool = option(False, "recurrent encoder (rnn, lstm, gru) reads both ways")
    sinusoid: str = option("2024", "layout of the sinusoidal table", choices=SINUSOIDS, json_only=True)

    pooling: str = option("first", "how a sequence becomes one vector", choices=POOLINGS)
    labels_num: int | None = positive(None, "number of classes")
    head_act: str | None = option(
        None,
        "activation between the two layers of a downstream head, none: one layer (default: the task's own)",
        choices=HEAD_ACTIVATIONS,
        json_only=True,
    )
    head_bias: bool = option(True, "the last layer of a downstream head on texts has a bias", json_only=True)
    has_lmtarget_bias: bool = option(False, "the language-model output has a bias")
    scale_lm_output: bool = option(
        False, "hidden states are divided by the root of H before the output layer (T5)", json_only=True
    )
    prefix_lm_loss: bool = option(False, "the loss counts only the second segment")
    tie_weights: bool = option(False, "output layer and word embedding are one tensor")
    share_embedding: bool = option(False, "source and target word embedding are one tensor")
    label_smoothing: float = fraction(0.0, "label smoothing of the lm target", json_only=True)
    sp_labels_num: int = option(
        2,
        "classes of sentence prediction (structbert has 3)",
        check=lambda value: value > 1,
        expected="2 or more",
    )
    csp_size: int = positive(128, "width in which the csp target compares texts", json_only=True)
    generator: dict | None = option(
        None, "settings of the model that puts tokens in the place of hidden ones (rtd)", json_only=True
    )
    generator_shares: tuple[str, ...] = option(
        ("word",),
        "parts of the embedding that model and generator have in common",
        choices=(*EMBEDDINGS, "layer_norm"),
        json_only=True,
    )
    teacher: dict | None = option(
        None, "settings of the model that is learnt from, where its weights do not say them", json_only=True
    )
    teacher_layers: tuple[int, ...] | None = option(
        None,
        "for each layer the teacher's, from 1 on, that it learns from, 0: none (states, scores; default: "
        "evenly spread)",
        check=lambda value: value >= 0,
        expected="a number of 0 or more",
        metavar="NUMBER",
    )
    soft_temperature: float = positive(2.0, "temperature of the logits that the soft target compares")
    students: tuple[dict, ...] = option(
        (), "settings of models that learn from this one while it learns (students)", json_only=True
    )
    stream_0: dict | None = option(None, "settings of the first stream of a dual model", json_only=True)
    stream_1: dict | None = option(None, "settings of the second stream of a dual model", json_only=True)
    dual_stream_norm: bool = option(False, "a dual embedding norms each stream a second time", json_only=True)

    @property
    def head_size(self) -> int:
        """Width of one attention head."""
        return self.attention_head_size or self.hidden_size // self.heads_num

    @property
    def widens_words(self) -> bool:
        """Whether word vectors alone are of width E, all else of width H."""
        return self.factorized_embedding_parameterization and self.factorized_part == "word"

    @property
    def widens_sum(self) -> bool:
        """Whether a linear joins an embedding of width E and an encoder of width H."""
        return self.factorized_embedding_parameterization and self.factorized_part == "sum"

    @property
    def has_segments(self) -> bool:
        """Whether the embedding tells segments apart."""
        return "seg" in self.embedding

    @property
    def has_tasks(self) -> bool:
        """Whether the embedding tells tasks apart."""
        return "task" in self.embedding

    @property
    def partners(self) -> tuple[str, ...]:
        """The models beside this one that its targets need."""
        return tuple(name for name, targets in PARTNERS.items() if set(targets) & set(self.target))

    @property
    def taught(self) -> tuple[str, ...]:
        """The terms of what learns from another model, none of which has labels of its own: "soft", …; those
        of student k end in _k, as "attention_0"."""
        own = [name for name in self.target if name in PARTNERS["teacher"]]
        numbers = range(len(self.students) if "students" in self.target else 0)
        return (*own, *(f"{name}_{k}" for k in numbers for name in self.student(k).target))

    def settings(self) -> dict[str, Any]:
        """What makes the model, without what belongs to the run."""
        return {name: value for name, value in self.to_dict().items() if name not in OF_THE_RUN}

    def student(self, number: int) -> ModelConfig:
        """The configuration of a student: its own settings laid over these. Its teacher is this model.

        Raises:
            ConfigError: a key is unknown, or the settings make no model.
        """
        teacher = {**self.settings(), "target": [name for name in self.target if name in ("mlm", "lm")]}
        fixed = {**dict.fromkeys(PARTNERS), "students": (), "teacher": teacher}
        return self._over("students", {"target": STUDENT_TARGETS, **self.students[number]}, fixed)

    @property
    def decoder_depth(self) -> int:
        """Layers of the decoder."""
        return self.decoder_layers_num or self.layers_num

    def stream(self, index: int) -> ModelConfig:
        """The configuration of one stream of a dual model: its own settings laid over the common ones.

        Raises:
            ConfigError: the stream names no embedding or encoder of its own, or a key is unknown.
        """
        name, own = f"stream_{index}", dict(getattr(self, f"stream_{index}") or {})
        for key in ("embedding", "encoder"):
            if own.get(key, "dual") in ("dual", ["dual"]):
                raise ConfigError(f"{name} has no {key} of its own; name one in the JSON config.")
        if isinstance(own["embedding"], str):  # one word in files of UER-py 2021: word_pos_seg
            own["embedding"] = own["embedding"].split("_")
        return self._over(name, own, {"stream_0": None, "stream_1": None})

    def partner(self, name: str) -> ModelConfig:
        """The configuration of a model beside this one: its own settings laid over these.

        A generator has the target mlm, a teacher none, unless they name others.

        Args:
            name: a key of `PARTNERS`.

        Raises:
            ConfigError: a key is unknown, or the settings make no model.
        """
        fixed = {**dict.fromkeys(PARTNERS), "target": ("mlm",) if name == "generator" else (), "students": ()}
        return self._over(name, {"target": fixed["target"], **(getattr(self, name) or {})}, fixed)

    def _over(self, name: str, own: dict[str, Any], fixed: dict[str, Any]) -> ModelConfig:
        """These settings, over them the `fixed` ones, over them those of the JSON key `name`."""
        own = {key: value for key, value in own.items() if key != "vocab_size"}  # the tokenizer decides
        for key in own:
            if key not in self.names() or key.startswith("stream_") or key in (*PARTNERS, "students"):
                raise ConfigError(f"{name}: the key '{key}' is unknown.{suggestion(key, self.names())}")
        common = {key: getattr(self, key) for key in self.names()}
        return ModelConfig(**{**common, **fixed, **own})

    def to_json(self) -> dict[str, Any]:
        """All values, for the companion folder and `--print_config`."""
        return self.to_dict()

    def check(self) -> None:
        """Combinations that cannot work."""
        self._check_embedding()
        self._check_encoder()
        if "bilm" in self.target and self.hidden_size % 2:
            raise ConfigError(f"hidden_size is {self.hidden_size}; --target bilm needs an even one.")
        if len(set(self.target)) != len(self.target):
            raise ConfigError(f"--target names a target twice: {' '.join(self.target)}.")
        if self.share_embedding and not self.decoder:
            raise ConfigError(
                "--share_embedding needs --decoder: there is no target embedding to share with."
            )

        self._check_partners()
        self._check_students()
        if self.prefix_lm_loss and self.decoder:
            raise ConfigError(
                "--prefix_lm_loss does not go with --decoder: a decoder's text has no second segment."
            )

    def _check_students(self) -> None:
        if ("students" in self.target) != bool(self.students):
            raise ConfigError(
                "--target students and the key 'students' of the JSON config, a list of objects with the "
                "settings in which each student differs from this model, belong together: give both or "
                "neither."
            )
        if self.students and (self.decoder or "dual" in self.embedding or "generator" in self.partners):
            raise ConfigError(
                "--target students goes with one encoder, not with a decoder, dual or a generator."
            )
        for number in range(len(self.students)):
            targets = self.student(number).target
            if strange := [name for name in targets if name not in (*PARTNERS["teacher"], "mlm", "sp", "lm")]:
                raise ConfigError(
                    f"a student cannot have the target {strange[0]}; choose what it learns from."
                )

    def _check_partners(self) -> None:
        for name in self.partners:
            needing = " ".join(target for target in self.target if target in PARTNERS[name])
            if getattr(self, name) is None and name not in FROZEN:  # a teacher's weights may say it
                raise ConfigError(
                    f"--target {needing} needs a {name}: describe it by the key '{name}' in the JSON config, "
                    "an object with the settings in which it differs from this model."
                )
            if self.decoder or "dual" in self.embedding:
                raise ConfigError(
                    f"--target {needing} needs a {name}, which goes with one encoder, not with "
                    f"{'--decoder' if self.decoder else '--embedding dual'}."
                )
            self.partner(name)
        if "generator" in self.partners and {"mlm", "pert"} & set(self.target):
            raise ConfigError(
                f"--target {' '.join(self.target)}: the generator has the mlm target, and what the model "
                "reads holds no hidden tokens any more; leave mlm and pert out."
            )

    def _check_embedding(self) -> None:
        for flag, parts in (
            ("--embedding", self.embedding),
            ("--tgt_embedding", self.tgt_embedding or ("word",)),
        ):
            if len(set(parts)) != len(parts):
                raise ConfigError(f"{flag} names a part twice: {' '.join(parts)}.")
            if "dual" in parts and len(parts) > 1:
                raise ConfigError(
                    f"{flag} dual stands alone: its streams name their own parts in the JSON config."
                )
            if "dual" not in parts and "word" not in parts:
                raise ConfigError(f"{flag} is '{' '.join(parts)}'; the part 'word' is needed.")
            if "sinusoidalpos" in parts and self.emb_size % 2:
                raise ConfigError(f"emb_size is {self.emb_size}; {flag} sinusoidalpos needs an even one.")
        if ("dual" in self.embedding) != (self.encoder == "dual"):
            raise ConfigError("--embedding dual and --encoder dual belong together: name both or neither.")
        if "dual" in self.embedding and (self.stream_0 is None or self.stream_1 is None):
            raise ConfigError("--embedding dual needs the keys stream_0 and stream_1 in the JSON config.")
        if "dual" in self.embedding:
            self.stream(0), self.stream(1)

    def _check_encoder(self) -> None:
        if self.encoder == "transformer":
            if self.attention_head_size is None and self.hidden_size % self.heads_num:
                raise ConfigError(
                    f"hidden_size {self.hidden_size} is no multiple of heads_num {self.heads_num}; "
                    "change one of them or give attention_head_size."
                )
            if self.emb_size != self.hidden_size and not self.factorized_embedding_parameterization:
                raise ConfigError(
                    f"emb_size {self.emb_size} and hidden_size {self.hidden_size} differ; "
                    "make them equal or add --factorized_embedding_parameterization."
                )
        if self.factorized_part == "word" and not self.factorized_embedding_parameterization:
            raise ConfigError("factorized_part word needs factorized_embedding_parameterization.")
        if self.decoder and self.factorized_embedding_parameterization:
            raise ConfigError("--factorized_embedding_parameterization does not go with --decoder.")
        if self.bidirectional and self.encoder not in ("rnn", "lstm", "gru"):
            raise ConfigError(
                f"--bidirectional is for --encoder rnn, lstm or gru, not {self.encoder}"
                + (
                    "; leave it out, this encoder reads both ways already."
                    if self.encoder.startswith("bi")
                    else "."
                )
            )
        if (self.bidirectional or self.encoder.startswith("bi")) and self.hidden_size % 2:
            raise ConfigError(
                f"hidden_size is {self.hidden_size}; a bidirectional encoder needs an even one."
            )
        if self.relative_position_embedding and self.encoder != "transformer":
            raise ConfigError(
                f"--relative_position_embedding needs --encoder transformer, not {self.encoder}."
            )
