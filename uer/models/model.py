"""A model is embedding → encoder (→ target embedding → decoder) → target.

Shapes: B rows, L source length, T target length, N real tokens, H hidden size.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor, nn

from uer.config.model import FROZEN, PARTNERS, ModelConfig
from uer.embeddings.parts import positions_limit
from uer.layers.cache import Caches
from uer.layers.layout import Layout, Part
from uer.layers.output import EncoderOutput
from uer.models.few import few_tokens
from uer.models.generator import replace_tokens
from uer.models.sides import Inputs, LayoutChoice, Side, check_length, ready_side, unpacked
from uer.targets.term import Term


class Targets(nn.Module):
    """The targets of a model, one child each, called one after the other on the same hidden states."""

    def __init__(self, targets: dict[str, nn.Module]) -> None:
        super().__init__()
        for name, target in targets.items():
            self.add_module(name, target)

    @property
    def token_labels(self) -> tuple[str, ...]:
        """The labels that lie on the grid of tokens, and are packed like them."""
        return tuple(name for target in self.children() for name in target.token_labels)

    @property
    def all_layers(self) -> bool:
        """Whether one of them reads the states between the layers too."""
        return any(getattr(target, "all_layers", False) for target in self.children())

    @property
    def partly_used(self) -> bool:
        """Whether some weights get no gradient: nobody reads what the last layer makes of its attention, or
        students may be of that kind."""
        only = [getattr(target, "attention_only", False) for target in self.children()]
        return (bool(only) and all(only)) or hasattr(self, "students")


@dataclass
class Passes:
    """What targets may ask of a model; see `uer.targets.term.Run`."""

    model: Model
    source: Side
    target: Side | None
    first: EncoderOutput

    def __call__(
        self, streams: Inputs, *, partner: str | None = None, all_layers: bool = False
    ) -> EncoderOutput:
        side = Side({**self.source.streams, **streams}, self.source.layout)
        if partner is None:
            return self.model.hidden_states(side, self.target, all_layers)
        other = getattr(self.model, partner)
        check_length(side.layout.max_length, positions_limit(other.embedding), "--seq_length")
        with torch.no_grad() if partner in FROZEN else nullcontext():
            return other.read(*side, all_layers=all_layers)

    @property
    def streams(self) -> Inputs:
        """The id streams of the source, as the model read them."""
        return self.source.streams

    @property
    def mask(self) -> str:
        """What the encoder's attention may see, as `--mask` says."""
        return self.model.encoder.mask

    @cached_property
    def teacher(self) -> EncoderOutput:
        """What the frozen teacher makes of the same source; its layers too where the model's own are read."""
        return self({}, partner="teacher", all_layers=self.first.layers is not None)

    def head(self, name: str, *, partner: str | None = None) -> nn.Module:
        """The target of this name, of the model or of a partner."""
        return getattr((self.model if partner is None else getattr(self.model, partner)).target, name)

    def scores(self, number: int, *, partner: str | None = None) -> Tensor:
        """Attention scores of a layer in the first pass; those of a partner carry no gradient."""
        if partner is None:
            return self.model.encoder.scores(self.first.layers, number, self.source.layout)
        with torch.no_grad():
            encoder = getattr(self.model, partner).encoder
            return encoder.scores(self.teacher.layers, number, self.source.layout)

    def vectors(self, ids: Tensor) -> Tensor:
        """The word vectors of ids, [...] → [..., E]."""
        return self.model.embedding.word({"word": ids})


class Model(nn.Module):
    """The composition. Any of `tgt_embedding`, `decoder` and `target` may be absent; subclasses add heads.

    `inputs` of all methods: "src" [B, L] token ids; "seg" [B, L] (0 padding, 1 first text, 2 second; absent:
    all 1); optional "pos" [B, L] (absent: counted from 0 over the real tokens of each row or document); "doc"
    [B, L] numbers documents packed into one row, which then do not see each other; further keys are streams
    for embedding parts. With a decoder also "tgt_in" [B, T], "tgt_seg", "tgt_pos". A dual model takes
    "src_0", "seg_0", "src_1", "seg_1".

    `layout` of all methods: "auto" packs the real tokens and hands back [B, L, H], zero at padding; a
    `Layout` hands back [N, H]; None computes padding too, which caches need.

    Attributes:
        generator, teacher: the partners, models beside this one (`uer.config.model.PARTNERS`), or None. A
            generator replaces the hidden tokens of `src` before this model reads them, and its own term comes
            first. A frozen partner neither learns nor drops anything out; targets ask it by `run`.
        target_weights: target → what it counts in the sum of all losses, where not as the target says.
    """

    def __init__(
        self,
        config: ModelConfig,
        *,
        embedding: nn.Module,
        encoder: nn.Module,
        tgt_embedding: nn.Module | None = None,
        decoder: nn.Module | None = None,
        target: Targets | None = None,
        partners: Mapping[str, Model] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.embedding, self.encoder = embedding, encoder
        self.tgt_embedding, self.decoder, self.target = tgt_embedding, decoder, target
        self.target_weights: dict[str, float] = {}
        for name in PARTNERS:
            self.register_module(name, None)
        for name, partner in (partners or {}).items():
            self.take_partner(name, partner)

    def take_partner(self, name: str, partner: Model) -> None:
        """Put a model beside this one, under a name of `uer.config.model.PARTNERS`."""
        self.register_module(name, partner)
        if name in FROZEN:
            partner.requires_grad_(False).eval()
            # Its weights stand in a file of their own.
            self.register_state_dict_post_hook(_without_frozen)
            self.register_load_state_dict_post_hook(_expect_no_frozen)

    @property
    def partly_used(self) -> bool:
        """Whether some weights may get no gradient in a step."""
        return self.target is not None and self.target.partly_used

    def _frozen(self) -> list[nn.Module]:
        found = (getattr(self, name) for name in FROZEN)
        return [partner for partner in found if partner is not None]

    def train(self, mode: bool = True) -> Model:
        """As of any module; frozen partners never drop anything out."""
        super().train(mode)
        for partner in self._frozen():
            partner.eval()
        return self

    def forward(
        self,
        inputs: Inputs,
        labels: Inputs,
        *,
        layout: Layout | Literal["auto"] = "auto",
        tgt_layout: Layout | Literal["auto"] = "auto",
    ) -> dict[str, Term]:
        """The terms of every target.

        Args:
            labels: by the names the targets ask for; those on the token grid are [B, L] ([B, T] with a
                decoder). Rows that belong together may come as [B, K, L]: K rows of each.
            layout, tgt_layout: of source and target, when they are known already.
        """
        if inputs.get("src", inputs.get("src_0")).dim() == 3:
            inputs = {name: x.flatten(0, 1) for name, x in inputs.items()}
            labels = {name: x.flatten(0, 1) for name, x in labels.items()}
        source = self.source(inputs, layout)
        target = self.target_side(inputs, tgt_layout) if self.decoder is not None else None
        read, packed = target or source, self.target.token_labels
        terms: dict[str, Term] = {}
        if self.generator is not None:
            packed = (*packed, *self.generator.target.token_labels)
        labels = {name: read.layout.pack(x) if name in packed else x for name, x in labels.items()}
        if self.generator is not None:
            choices = hasattr(self.target, "mts")
            made = replace_tokens(self.generator, *source, labels["mlm"], candidates=choices)
            terms["mlm"] = made.term
            source = Side({**source.streams, "word": made.word}, source.layout)
            labels = {**labels, **made.labels}
        few = None if target else few_tokens(self.encoder, self.target, labels, source.layout)
        first = self.hidden_states(source, target, self.target.all_layers, few)
        terms.update(self.terms(Passes(self, source, target, first), labels, few))
        return terms

    def terms(self, run: Passes, labels: Inputs, few: Part | None = None) -> dict[str, Term]:
        """The terms of the targets on what a first pass gave.

        Args:
            labels: those on the token grid are packed.
            few: the tokens whose states the first pass gave; None: all.
        """
        read, terms = run.target or run.source, {}
        seg, layout = read.streams["seg"], read.layout
        if few is not None:
            grid = self.target.token_labels
            labels = {n: x.index_select(0, few.tokens) if n in grid else x for n, x in labels.items()}
            seg, layout = seg.index_select(0, few.tokens), few.layout
        for name, child in self.target.named_children():
            found = child(run.first.hidden, labels, seg=seg, layout=layout, run=run)
            weight = self.target_weights.get(name, getattr(child, "weight", 1.0))
            terms.update({key: term._replace(weight=weight) for key, term in found.items()})
        return terms

    def read(self, streams: Inputs, layout: Layout, *, all_layers: bool = False) -> EncoderOutput:
        """Embedding and encoder over streams that are packed already: what is asked of a partner."""
        return self._encode(Side(streams, layout), None, all_layers)

    def encode(
        self,
        inputs: Inputs,
        *,
        layout: LayoutChoice = "auto",
        caches: Caches | None = None,
        all_layers: bool = False,
    ) -> EncoderOutput:
        """Embedding and encoder; see the class for the arguments. With `caches` the layout is None."""
        side = self.source(inputs, None if caches is not None else layout, caches)
        out = self._encode(side, caches, all_layers)
        return unpacked(out, side.layout) if layout == "auto" and side.layout is not None else out

    def encode_pair(
        self, inputs: Inputs, *, layout: Literal["auto"] | None = "auto", all_layers: bool = False
    ) -> tuple[EncoderOutput, EncoderOutput]:
        """Both streams of a dual model."""
        outputs = []
        for number in (0, 1):
            stream = {key[:-2]: x for key, x in inputs.items() if key.endswith(f"_{number}")}
            side = self.source(stream, layout, limit=positions_limit(self.embedding.dual.stream(number)))
            hidden = self.embedding.dual(number, side.streams)
            out = self.encoder(number, hidden, side.streams["seg"], layout=side.layout, all_layers=all_layers)
            outputs.append(out if side.layout is None else unpacked(out, side.layout))
        return outputs[0], outputs[1]

    def decode(
        self,
        inputs: Inputs,
        memory: Tensor,
        memory_seg: Tensor,
        *,
        layout: LayoutChoice = "auto",
        memory_layout: Layout | None = None,
        caches: Caches | None = None,
        all_layers: bool = False,
    ) -> EncoderOutput:
        """Target embedding and decoder over a memory [B, L, H] with its seg, or packed by `memory_layout`."""
        side = self.target_side(inputs, None if caches is not None else layout, caches)
        out = self._decode(side, memory, memory_seg, memory_layout, caches, all_layers)
        return unpacked(out, side.layout) if layout == "auto" and side.layout is not None else out

    def source(
        self, inputs: Inputs, layout: LayoutChoice, caches: Caches | None = None, limit: int | None = None
    ) -> Side:
        """The streams for the embedding, packed unless `layout` is None.

        Raises:
            ConfigError: a sequence is longer than the table of positions.
        """
        streams = {name: x for name, x in inputs.items() if not name.startswith("tgt_")}
        streams["word"] = streams.pop("src")
        limit = limit or positions_limit(self.embedding)
        return ready_side(streams, layout, caches, limit, "--seq_length")

    def target_side(self, inputs: Inputs, layout: LayoutChoice, caches: Caches | None = None) -> Side:
        """As `source`, for the target embedding."""
        streams = {name[4:]: x for name, x in inputs.items() if name.startswith("tgt_")}
        streams["word"] = streams.pop("in")
        return ready_side(streams, layout, caches, positions_limit(self.tgt_embedding), "--tgt_seq_length")

    def hidden_states(
        self, source: Side, target: Side | None, all_layers: bool = False, few: Part | None = None
    ) -> EncoderOutput:
        """What the targets read: the decoder's output, or the encoder's when there is no decoder; with `few`
        of these tokens alone.
        """
        if target is None:
            return self._encode(source, None, all_layers, few)
        hidden = self._encode(source, None, False).hidden
        return self._decode(target, hidden, source.streams["seg"], source.layout, None, all_layers)

    def _encode(
        self, side: Side, caches: Caches | None, all_layers: bool, few: Part | None = None
    ) -> EncoderOutput:
        more = {} if few is None else {"only": few}
        return self.encoder(
            self.embedding(side.streams),
            side.streams["seg"],
            layout=side.layout,
            caches=caches,
            all_layers=all_layers,
            **more,
        )

    def _decode(
        self,
        side: Side,
        memory: Tensor,
        memory_seg: Tensor,
        memory_layout: Layout | None,
        caches: Caches | None,
        all_layers: bool,
    ) -> EncoderOutput:
        return self.decoder(
            self.tgt_embedding(side.streams),
            memory,
            seg=side.streams["seg"],
            memory_seg=memory_seg,
            layout=side.layout,
            memory_layout=memory_layout,
            caches=caches,
            all_layers=all_layers,
        )

    def tied_names(self) -> list[tuple[str, ...]]:
        """The groups of parameter names that are one tensor."""
        groups: dict[int, list[str]] = {}
        for name, parameter in self.named_parameters(remove_duplicate=False):
            groups.setdefault(id(parameter), []).append(name)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    def untie(self, name: str) -> None:
        """Give the parameter `name` a tensor of its own, equal to the one that it shared."""
        path, _, leaf = name.rpartition(".")
        module = self.get_submodule(path)
        old = getattr(module, leaf)
        setattr(module, leaf, nn.Parameter(old.detach().clone(), requires_grad=old.requires_grad))


def _is_frozen(name: str) -> bool:
    return name.partition(".")[0] in FROZEN


def _without_frozen(model: Model, state: dict[str, Tensor], prefix: str, _: dict) -> None:
    for name in [name for name in state if name.startswith(prefix) and _is_frozen(name[len(prefix) :])]:
        del state[name]


def _expect_no_frozen(model: Model, incompatible: Any) -> None:
    incompatible.missing_keys[:] = [name for name in incompatible.missing_keys if not _is_frozen(name)]
