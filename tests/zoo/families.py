"""The families of the zoo that are proven so far: what each is made of here, and what proves it.

The ids are those of the public list of families that Chinese and multilingual users bring; `docs/zoo.md` is
written from this table and from what was measured.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from uer.utils.files import repository_root

BERT_HEADS = "mlm, sp, cls, tok, qa, choice"


@dataclass(frozen=True)
class ZooFamily:
    """One family.

    Attributes:
        id: F01 …
        title: what it is called.
        names: released names that it covers, or what they begin with.
        folder: of its configurations, under `models/`.
        maps: its key maps, keys of `uer.checkpoints.families.FAMILIES`; the first one knows its tensors.
        live: families of `docs/parity.md` that prove it, computed in the tests by `transformers`.
        frozen: beginnings of the frozen cases that prove it.
        heads: parts that the key maps know.
        tokenizer: how its text becomes ids.
        objective: how it is trained further: data processor and target.
        parts: of the key map that its configurations have.
    """

    id: str
    title: str
    names: tuple[str, ...]
    folder: str
    maps: tuple[str, ...]
    live: tuple[str, ...] = ()
    frozen: tuple[str, ...] = ()
    heads: str = BERT_HEADS
    tokenizer: str = "bert"
    objective: str = "mlm"
    parts: tuple[str, ...] = field(default=("mlm",))

    @property
    def configurations(self) -> list[Path]:
        """Its files under `models/`."""
        return sorted((repository_root() / "models" / self.folder).glob("*_config.json"))


def _bert(
    number: str,
    title: str,
    names: tuple[str, ...],
    folder: str,
    *,
    more_maps: tuple[str, ...] = (),
    parts: tuple[str, ...] = ("mlm", "sp"),
    **more: object,
) -> ZooFamily:
    """A family whose graph is BERT's, told apart by data, objective or vocabulary."""
    maps = ("bert", "paddle-bert", *more_maps)
    return ZooFamily(number, title, names, folder, maps, ("bert",), parts=parts, **more)


FAMILIES = (
    _bert(
        "F01",
        "BERT",
        ("bert-base-*", "bert-large-*", "bert-wwm*", "ckiplab-bert-*", "MathBERT", "FinBERT", "MC-BERT"),
        "bert",
        more_maps=("tf-bert",),
        frozen=("F01",),
        tokenizer="bert, space",
        objective="bert (mlm sp), mlm",
    ),
    _bert(
        "F02",
        "BERT-Japanese",
        ("bert-base-japanese*",),
        "bert-japanese",
        tokenizer="mecab, mecab_char",
    ),
    _bert(
        "F03",
        "RoBERTa-zh",
        ("roberta-wwm-ext*", "RBT3-6", "RBTL3-6", "RoBERTa-tiny-clue", "24 UER sizes", "word-based sizes"),
        "roberta-zh",
        more_maps=("paddle-roberta",),
        frozen=("F03",),
        tokenizer="bert; sentencepiece for words",
        parts=("mlm",),
    ),
    ZooFamily(
        "F04",
        "RoBERTa",
        ("roberta-*", "guwenbert-*"),
        "roberta",
        ("roberta",),
        ("roberta", "xlm-roberta"),
        ("F04",),
        heads="mlm, cls, tok, qa, choice",
        tokenizer="bpe; bert for guwenbert",
    ),
    _bert(
        "F05",
        "MacBERT",
        ("macbert-*",),
        "macbert",
        objective="albert (mlm sp) with n-grams and similar words",
    ),
    _bert("F06", "WoBERT", ("WoBERT", "WoBERT-plus"), "wobert", tokenizer="jieba", parts=("mlm",)),
    _bert("F07", "Mengzi-BERT", ("mengzi-bert-*",), "mengzi-bert", objective="albert (mlm sp)"),
    _bert("F08", "StructBERT", ("StructBERT",), "structbert", objective="structbert (mlm sp)"),
    _bert("F09", "PERT", ("PERT-base", "PERT-large"), "pert", objective="pert (pert)"),
    _bert("F10", "TaCL", ("tacl-bert-*",), "tacl", objective="bert (mlm sp contrast) with a teacher"),
    ZooFamily(
        "F13",
        "ERNIE 1.0, 2.0, Tiny",
        ("ernie-1.0*", "ernie-tiny", "ernie-2.0-*"),
        "ernie",
        ("ernie", "paddle-ernie"),
        ("ernie",),
        ("F13",),
        tokenizer="bert; ernie_tiny",
        objective="bert (mlm sp) with knowledge masking, mlm",
        parts=("mlm", "sp"),
    ),
    ZooFamily(
        "F14",
        "ERNIE 3.0",
        ("ernie-3.0-xbase … nano",),
        "ernie-3.0",
        ("ernie", "paddle-ernie"),
        ("ernie",),
        ("F14",),
        parts=("mlm", "sp"),
        objective="bert (mlm sp students), mlm",
    ),
    ZooFamily(
        "F15",
        "UIE",
        ("uie-*",),
        "uie",
        ("paddle-ernie", "ernie"),
        (),
        ("F15",),
        heads="pointers of start and end",
        parts=("pointer",),
    ),
    ZooFamily(
        "F16",
        "ERNIE-M",
        ("ernie-m-*",),
        "ernie-m",
        ("ernie-m", "paddle-ernie-m"),
        (),
        ("F16",),
        heads="cls, tok, qa, choice, pointers",
        tokenizer="ernie_m",
        parts=(),
    ),
    ZooFamily(
        "F17",
        "ERNIE-Health",
        ("ernie-health-*",),
        "ernie-health",
        ("paddle-electra",),
        (),
        ("F17",),
        heads="rtd, mts, csp; generator mlm; cls, tok, qa, choice",
        objective="ernie_health (rtd mts csp, generator mlm)",
        parts=("health",),
    ),
    ZooFamily(
        "F18",
        "ERNIE-Gram, without relative positions",
        ("ernie-gram-zh*",),
        "ernie-gram",
        ("paddle-ernie-gram",),
        (),
        ("F18_ernie_gram_nobias", "F18_paddle"),
        heads="cls, tok, qa",
        parts=(),
    ),
    ZooFamily(
        "F21",
        "SKEP",
        ("skep_ernie_1.0_large_ch", "skep_ernie_2.0_large_en", "skep_roberta_large_en"),
        "skep",
        ("paddle-skep",),
        (),
        ("F21_skep_e", "F21_skep_r", "F21_paddle"),
        heads="cls, tok",
        tokenizer="bert; bpe for roberta",
        parts=(),
        objective="skep (mlm polarity pair)",
    ),
    ZooFamily(
        "F24",
        "ALBERT",
        ("albert-*-v1", "albert-*-v2", "albert-chinese-*"),
        "albert",
        ("albert", "paddle-albert", "tf-albert"),
        ("albert",),
        ("F24",),
        tokenizer="bert; sentencepiece for English",
        objective="albert (mlm sp)",
        parts=("mlm", "sp"),
    ),
    ZooFamily(
        "F25",
        "albert_zh",
        ("Albert_tiny", "Albert_base_zh", "Albert_large_zh", "Albert_xlarge_zh"),
        "albert-zh",
        ("albert-zh",),
        (),
        ("F25",),
        heads="mlm, sp",
        objective="albert (mlm sp)",
        parts=("mlm", "sp"),
    ),
    ZooFamily(
        "F26",
        "ELECTRA",
        ("electra-*", "chinese-electra-*", "legal-ELECTRA-*"),
        "electra",
        ("electra", "paddle-electra"),
        ("electra",),
        ("F26",),
        heads="mlm of the generator, rtd, cls, tok, qa, choice",
        objective="electra (rtd, generator mlm)",
    ),
    ZooFamily(
        "F27",
        "DistilBERT",
        ("distilbert-base-*",),
        "distilbert",
        ("distilbert", "paddle-distilbert"),
        ("distilbert",),
        ("F27",),
        heads="mlm, cls, tok, qa, choice",
        objective="mlm (mlm soft cosine) with a teacher",
    ),
    _bert(
        "F28",
        "TinyBERT",
        ("tinybert-4l-312d*", "tinybert-6l-768d*"),
        "tinybert",
        more_maps=("paddle-tinybert",),
        frozen=("F28_paddle",),
        objective="mlm (states scores) with a teacher; scripts/distill.py",
    ),
    ZooFamily(
        "F35",
        "Erlangshen (Megatron-BERT)",
        ("Erlangshen",),
        "megatron-bert",
        ("megatron-bert",),
        ("megatron-bert",),
        ("F35",),
        objective="bert (mlm sp), mlm",
        parts=("mlm", "sp"),
    ),
    _bert(
        "F65",
        "UER's supervised pre-training",
        ("jdbinary", "Amazonreview", "XNLI"),
        "supervised",
        objective="cls",
        parts=("cls",),
    ),
)


def by_id(number: str) -> ZooFamily:
    """The family F01, …"""
    return next(family for family in FAMILIES if family.id == number)
