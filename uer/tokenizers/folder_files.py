"""The files of a tokenizer in a Hugging Face folder: tokenizer.json, or what older folders have in its
place.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from uer.errors import ConfigError, DataError
from uer.tokenizers.base import Frame, Tokenizer
from uer.tokenizers.folder import FolderTokenizer, probed, read_pipeline
from uer.tokenizers.folder_rules import of_rules
from uer.tokenizers.pipelines import JSON_NAME, add_special, byte_level, unigram, word_pieces
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.vocab import Vocab

if TYPE_CHECKING:
    import tokenizers

    from uer.tokenizers.sentence_piece import SpmModel

# Our roles, and the names of theirs that may fill them, in this order.
ROLES = {
    "unk": ("unk_token", "eos_token"),
    "cls": ("cls_token", "bos_token", "eos_token", "pad_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token", "unk_token", "eos_token"),
    "pad": ("pad_token", "eos_token", "unk_token"),
}
SENTINELS = ("<extra_id_0>", "extra0")
ADDED = "added_tokens.json"
FAIRSEQ = "sentencepiece.bpe.model"
SPM_NAMES = ("spiece.model", FAIRSEQ, "spm.model")
PIECES = ("albert", "xlmroberta", "t5", "mt5", "pegasus")


def _names(*tokens: str) -> dict[str, str]:
    return dict(zip(("unk_token", "cls_token", "sep_token", "mask_token", "pad_token"), tokens))


BRACKETS = _names("[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]")
ANGLES = {
    **_names("<unk>", "<s>", "</s>", "<mask>", "<pad>"),
    "bos_token": "<s>",
    "eos_token": "</s>",
}
T5 = {"unk_token": "<unk>", "eos_token": "</s>", "pad_token": "<pad>"}
# What their tokenizer classes take for special tokens when a folder does not say it.
DEFAULTS = {
    "bert": BRACKETS,
    "electra": BRACKETS,
    "distilbert": BRACKETS,
    "albert": {
        **BRACKETS,
        **{"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "[CLS]", "eos_token": "[SEP]"},
    },
    "roberta": ANGLES,
    "xlmroberta": ANGLES,
    "bart": ANGLES,
    "gpt2": dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>"),
    "t5": T5,
    "mt5": T5,
    "pegasus": {**T5, "mask_token": "<mask_2>"},
    **dict.fromkeys(("erniem", "ernietiny", "ernie", "skep", "bertjapanese"), BRACKETS),
}
# What they put around one text and around two, where it is not what BERT's does; type ids behind the colons.
TEMPLATES = {
    **dict.fromkeys(
        ("roberta", "xlmroberta", "bart"),
        ("{cls}:0 $A:0 {sep}:0", "{cls}:0 $A:0 {sep}:0 {sep}:0 $B:0 {sep}:0"),
    ),
    **dict.fromkeys(("t5", "mt5"), ("$A:0 {sep}:0", "$A:0 {sep}:0 $B:0 {sep}:0")),
    "pegasus": ("$A:0 {sep}:0", "$A:0 $B:0 {sep}:0"),
    "skep": ("{cls}:0 $A:0 {sep}:0", "{cls}:0 $A:0 {sep}:0 {sep}:0 $B:0 {sep}:0"),
    "gpt2": None,
}
BERT_TEMPLATE = ("{cls}:0 $A:0 {sep}:0", "{cls}:0 $A:0 {sep}:0 $B:1 {sep}:1")


def _content(token: Any) -> Any:
    """A special token, which may be written as an object with flags."""
    return token.get("content") if isinstance(token, dict) else token


def load_folder_tokenizer(folder: str | Path) -> Tokenizer:
    """The tokenizer of a Hugging Face folder: its tokenizer.json, else made of its vocabulary files.

    Raises:
        DataError: no file of a tokenizer is there, it is damaged, or names no special tokens.
    """
    return _Files(Path(folder)).tokenizer()


class _Files:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def tokenizer(self) -> Tokenizer:
        """The tokenizer."""
        path, size = self.folder / JSON_NAME, self.model.get("vocab_size")
        if not path.is_file():
            found = of_rules(self.folder, self.kind, self.settings, size, self.special)
            if found is not None:
                return found
        if path.is_file():
            content = path.read_bytes()
            pipeline = read_pipeline(content, path)
        else:
            pipeline, path = self._made()
            self._add(pipeline, pieces=path.suffix == ".model")
            self._surround(pipeline, path)
            content = pipeline.to_str().encode("utf-8")
        special = self.special(pipeline)
        return FolderTokenizer(
            content,
            special,
            path,
            size=size if isinstance(size, int) else 0,
            frame=asdict(self._frame(pipeline, special)),
            names=self.named(pipeline),
        )

    def _add(self, pipeline: tokenizers.Tokenizer, *, pieces: bool) -> None:
        """The tokens that were added to a vocabulary, each with its number.

        Raises:
            DataError: the numbers do not go on where the vocabulary ends; or `pieces`: a sentencepiece
                model cuts the text, and blanks beside new tokens would be cut otherwise than there.
        """
        from tokenizers import AddedToken

        for token, number in sorted(self._json(ADDED).items(), key=lambda entry: entry[1]):
            if pieces and pipeline.token_to_id(token) is None:
                raise DataError(
                    f"adds '{token}' to a sentencepiece model, which is not read; write tokenizer.json with "
                    "transformers (save_pretrained of the tokenizer).",
                    path=self.folder / ADDED,
                )
            pipeline.add_tokens([AddedToken(token)])
            if (given := pipeline.token_to_id(token)) != number:
                raise DataError(
                    f"gives '{token}' the number {number}, but behind the vocabulary it has {given}; restore "
                    "both files from one place.",
                    path=self.folder / ADDED,
                )

    def _made(self) -> tuple[tokenizers.Tokenizer, Path]:
        """A pipeline made of other files, and the file that has the tokens."""
        words, vocab, merges = (self.folder / name for name in ("vocab.txt", "vocab.json", "merges.txt"))
        spm = next((self.folder / name for name in SPM_NAMES if (self.folder / name).is_file()), None)
        if spm is not None and (self.kind in PIECES or not words.is_file()):
            return self._sentence_piece(spm), spm
        if words.is_file() and any(self.folder.glob("*.model")):
            # ERNIE-M's and ernie-tiny's: the pieces of the model in the numbering of the list
            raise DataError(
                "numbers the pieces of a sentencepiece model, which is not read; write tokenizer.json with "
                "transformers (save_pretrained of the tokenizer), or give the tokenizer by flags.",
                path=words,
            )
        encoder, bpe = self.folder / "encoder.json", self.folder / "vocab.bpe"
        if encoder.is_file() and bpe.is_file():  # SKEP's, over RoBERTa
            return self._byte_level(encoder, bpe), encoder
        if words.is_file():
            return self._word_pieces(words), words
        if vocab.is_file() and merges.is_file():
            return self._byte_level(vocab, merges), vocab
        raise DataError(
            f"holds no {JSON_NAME}, vocab.txt, vocab.json with merges.txt, or {' or '.join(SPM_NAMES)}; "
            "give the tokenizer by flags, or write tokenizer.json with transformers (save_pretrained of the "
            "tokenizer).",
            path=self.folder,
        )

    def _surround(self, pipeline: tokenizers.Tokenizer, path: Path) -> None:
        """Give a pipeline the template of its class; BERT's for a list of word pieces."""
        from tokenizers import processors

        kind = "bert" if path.name == "vocab.txt" else self.kind
        template = TEMPLATES.get(kind, BERT_TEMPLATE)
        if template is None:
            return
        special = self.special(pipeline)
        single, pair = (form.format(cls=special.cls, sep=special.sep) for form in template)
        numbers = {token: pipeline.token_to_id(token) for token in (special.cls, special.sep)}
        pipeline.post_processor = processors.TemplateProcessing(
            single=single, pair=pair, special_tokens=list(numbers.items())
        )

    def _frame(self, pipeline: tokenizers.Tokenizer, special: SpecialTokens) -> Frame:
        """What the pipeline puts around texts; if nothing, the cls and sep token that are named."""
        around = probed(pipeline)
        cls, sep = pipeline.token_to_id(special.cls), pipeline.token_to_id(special.sep)
        if around is None:
            named = self.named(pipeline)
            after = (sep,) if "sep_token" in named else ()
            around = ((cls,) if "cls_token" in named else ()), after, after
        start = self.model.get("decoder_start_token_id")
        return Frame(*around, start=start if isinstance(start, int) else cls)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """tokenizer_config.json, and special_tokens_map.json laid over it."""
        values: dict[str, Any] = {}
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            values.update({key: value for key, value in self._json(name).items() if value is not None})
        return values

    @cached_property
    def model(self) -> dict[str, Any]:
        """config.json."""
        return self._json("config.json")

    def _json(self, name: str) -> dict[str, Any]:
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            return dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise DataError(f"is no JSON object ({error}).", path=path) from error

    @cached_property
    def kind(self) -> str:
        """A key of `DEFAULTS`, or ""."""
        names = (self.settings.get("tokenizer_class"), self.model.get("tokenizer_class"))
        for name in (*names, self.model.get("model_type")):
            kind = re.sub(r"tokenizer(fast)?$|[-_]", "", str(name or "").lower())
            if kind in DEFAULTS:
                return kind
        return ""

    def named(self, pipeline: tokenizers.Tokenizer) -> dict[str, str]:
        """Special tokens by their names for them: those that the folder names, or its class takes for
        granted.
        """
        known = pipeline.token_to_id
        usual = {
            name: token for name, token in DEFAULTS.get(self.kind, {}).items() if known(token) is not None
        }
        for name, token in self.settings.items():
            if name.endswith("_token"):
                usual[name] = _content(token)
        return {name: token for name, token in usual.items() if isinstance(token, str)}

    def special(self, pipeline: tokenizers.Tokenizer) -> SpecialTokens:
        """The special tokens by our roles; where the folder has none for a role, one that does its work."""
        named, known = self.named(pipeline), pipeline.token_to_id
        roles = {role: next(filter(None, map(named.get, names)), None) for role, names in ROLES.items()}
        for usual in (BRACKETS, ANGLES):
            if not all(roles.values()) and all(known(usual[f"{role}_token"]) is not None for role in ROLES):
                roles = {role: token or usual[f"{role}_token"] for role, token in roles.items()}
        missing = [role for role, token in roles.items() if not token]
        if missing:
            raise DataError(
                f"names no {missing[0]} token; add a special_tokens_map.json with "
                f"{', '.join(ROLES[missing[0]])}.",
                path=self.folder,
            )
        sentinel = next((token for token in SENTINELS if known(token) is not None), SENTINELS[0])
        return SpecialTokens(**roles, sentinel=sentinel)

    def _word_pieces(self, path: Path) -> tokenizers.Tokenizer:
        vocab = Vocab.load(path)
        said = self.settings.get
        pipeline = word_pieces(
            vocab.tokens,
            _content(said("unk_token")) or "[UNK]",
            bool(said("do_lower_case", True)),
            accents=said("strip_accents"),
            chinese=bool(said("tokenize_chinese_chars", True)),
        )
        add_special(pipeline, [token for token in BRACKETS.values() if token in vocab])
        return pipeline

    def _byte_level(self, path: Path, merges: Path) -> tokenizers.Tokenizer:
        from uer.tokenizers.bpe import read_merges

        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            tokens = sorted(index, key=index.__getitem__)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"is no JSON table of token and id ({error}).", path=path) from error
        pipeline = byte_level(index, read_merges(merges, Vocab(tokens, path)))
        names = (*ANGLES.values(), *BRACKETS.values(), "<|endoftext|>")
        add_special(pipeline, [token for token in names if token in index])
        return pipeline

    def _sentence_piece(self, path: Path) -> tokenizers.Tokenizer:
        """The pieces in the order of the family's ids, between tokens of its own."""
        from uer.tokenizers.sentence_piece import SpmModel

        model = SpmModel.load(path)
        kind = "xlmroberta" if path.name == FAIRSEQ else self.kind
        tokens, unknown = self._order(kind, model)
        try:
            pipeline = unigram(model, tokens, unknown, self._cleaning() if kind == "albert" else ())
        except ConfigError as error:
            raise DataError(str(error).partition(": ")[2], path=path) from error
        number, control = model.processor.piece_to_id, model.processor.is_control
        pieces = set(model.pieces)
        own = [token for token in tokens if token not in pieces or control(number(token))]
        add_special(pipeline, [*own, *(token for token in self.named(pipeline).values() if token in tokens)])
        return pipeline

    def _order(self, kind: str, model: SpmModel) -> tuple[list[str], int]:
        """The tokens in the order of their ids, and the id of the unknown one."""
        pieces, unknown = model.pieces, model.processor.unk_id()
        if kind in ("t5", "mt5"):
            room = self.model.get("vocab_size", len(pieces) + 100) - len(pieces)
            extra = self.settings.get("extra_ids", 100 if room >= 100 else 0)
            return [*pieces, *(f"<extra_id_{n}>" for n in reversed(range(extra)))], unknown
        if kind == "pegasus":
            offset = self.settings.get("offset", 103)
            own = ["<mask_1>", "<mask_2>", *(f"<unk_{n}>" for n in range(2, offset))]
            return [*pieces[:2], *own, *pieces[2:]], unknown + offset
        if kind == "xlmroberta":  # fairseq's order
            head = [ANGLES[f"{role}_token"] for role in ("cls", "pad", "sep", "unk")]
            rest = [piece for n, piece in enumerate(pieces) if piece not in head and n != unknown]
            return [*head, *rest, ANGLES["mask_token"]], head.index(ANGLES["unk_token"])
        return list(pieces), unknown

    def _cleaning(self) -> list[Any]:
        """What ALBERT's tokenizer does to a text before the pieces: quotes, accents, case."""
        from tokenizers import normalizers

        steps: list[Any] = [normalizers.Replace(quotes, '"') for quotes in ("``", "''")]
        if not self.settings.get("keep_accents", False):
            steps += [normalizers.NFKD(), normalizers.StripAccents()]
        return [*steps, normalizers.Lowercase()] if self.settings.get("do_lower_case", True) else steps
