"""The tokenizer of a Hugging Face folder, by that folder's own rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from uer.errors import DataError
from uer.tokenizers.base import Tokenizer
from uer.tokenizers.pipelines import JSON_NAME, add_special, byte_level, unigram, word_pieces
from uer.tokenizers.special import SpecialTokens
from uer.tokenizers.text import sound
from uer.tokenizers.vocab import Vocab

if TYPE_CHECKING:
    import tokenizers

# Our roles, and the names of theirs that may fill them, in this order.
ROLES = {
    "unk": ("unk_token", "eos_token"),
    "cls": ("cls_token", "bos_token", "eos_token", "pad_token"),
    "sep": ("sep_token", "eos_token"),
    "mask": ("mask_token", "unk_token", "eos_token"),
    "pad": ("pad_token", "eos_token", "unk_token"),
}
SENTINELS = ("<extra_id_0>", "extra0")


class FolderTokenizer(Tokenizer):
    """A pipeline of the `tokenizers` library. Special tokens written in a text count as such, as they do
    there.

    Args:
        content: a `tokenizer.json`.
        special: the special tokens.
        path: where it was read from, for messages.
    """

    name = "folder"

    def __init__(self, content: bytes, special: SpecialTokens, path: str | Path) -> None:
        from tokenizers import Tokenizer as Pipeline

        try:
            self.pipeline: tokenizers.Tokenizer = Pipeline.from_str(content.decode("utf-8"))
        except Exception as error:  # the library raises a plain Exception for a damaged file
            raise DataError(
                f"is no tokenizer.json of the tokenizers library ({error}).", path=path
            ) from error
        self.pipeline.no_padding()
        self.pipeline.no_truncation()
        self._content = content
        index = self.pipeline.get_vocab(with_added_tokens=True)
        tokens = [""] * (max(index.values(), default=-1) + 1)
        for token, number in index.items():
            tokens[number] = token
        super().__init__(Vocab(tokens, path), special)

    def encode_batch(self, texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """See `Tokenizer.encode_batch`."""
        found = self.pipeline.encode_batch_fast([sound(text) for text in texts], add_special_tokens=False)
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum([len(one) for one in found], out=offsets[1:])
        ids = [number for one in found for number in one.ids]
        return np.array(ids, np.int32), offsets

    def join_tokens(self, tokens: Sequence[str]) -> str:
        """Text by the pipeline's own decoder."""
        decoder = self.pipeline.decoder
        return " ".join(tokens) if decoder is None else decoder.decode(list(tokens))

    def files(self) -> dict[str, tuple[str, bytes]]:
        """See `Tokenizer.files`."""
        return {"vocab_path": (JSON_NAME, self._content)}


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
        path = self.folder / JSON_NAME
        if path.is_file():
            content = path.read_bytes()
        elif (self.folder / "vocab.txt").is_file():
            content = self._word_pieces()
        elif (self.folder / "vocab.json").is_file() and (self.folder / "merges.txt").is_file():
            content = self._byte_level()
        else:
            return self._sentence_piece()
        return FolderTokenizer(content, self.special(content), path)

    @cached_property
    def settings(self) -> dict[str, Any]:
        """tokenizer_config.json, and special_tokens_map.json laid over it."""
        values: dict[str, Any] = {}
        for name in ("tokenizer_config.json", "special_tokens_map.json"):
            path = self.folder / name
            if path.is_file():
                try:
                    values.update(json.loads(path.read_text(encoding="utf-8")))
                except (ValueError, TypeError) as error:
                    raise DataError(f"is no JSON object ({error}).", path=path) from error
        return values

    def special(self, content: bytes) -> SpecialTokens:
        """The special tokens by our roles; where the folder has none for a role, one that does its work."""
        known = {}
        for role, names in ROLES.items():
            tokens = [self.settings.get(name) for name in names]
            tokens = [token.get("content") if isinstance(token, dict) else token for token in tokens]
            known[role] = next((token for token in tokens if token), None)
        if not all(known.values()):
            text = content.decode("utf-8", "replace")
            for special in (
                ("[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"),
                ("<unk>", "<s>", "</s>", "<mask>", "<pad>"),
            ):
                if all(f'"{token}"' in text for token in special):
                    known = {
                        role: known[role] or token
                        for role, token in zip(("unk", "cls", "sep", "mask", "pad"), special)
                    }
        missing = [role for role, token in known.items() if not token]
        if missing:
            raise DataError(
                f"names no {missing[0]} token; add a special_tokens_map.json with "
                f"{', '.join(ROLES[missing[0]])}.",
                path=self.folder,
            )
        text = content.decode("utf-8", "replace")
        sentinel = next((token for token in SENTINELS if f'"{token}"' in text), SENTINELS[0])
        return SpecialTokens(**known, sentinel=sentinel)

    def _word_pieces(self) -> bytes:
        vocab = Vocab.load(self.folder / "vocab.txt")
        lower = self.settings.get("do_lower_case", True)
        unknown = self.settings.get("unk_token") or "[UNK]"
        pipeline = word_pieces(vocab.tokens, unknown, bool(lower))
        add_special(
            pipeline, [token for token in ("[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]") if token in vocab]
        )
        return pipeline.to_str().encode("utf-8")

    def _byte_level(self) -> bytes:
        from uer.tokenizers.bpe import read_merges

        path = self.folder / "vocab.json"
        try:
            index = json.loads(path.read_text(encoding="utf-8"))
            tokens = sorted(index, key=index.__getitem__)
        except (ValueError, TypeError, AttributeError) as error:
            raise DataError(f"is no JSON table of token and id ({error}).", path=path) from error
        merges = read_merges(self.folder / "merges.txt", Vocab(tokens, path))
        pipeline = byte_level(index, merges)
        names = ("<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>")
        add_special(pipeline, [token for token in names if token in index])
        return pipeline.to_str().encode("utf-8")

    def _sentence_piece(self) -> Tokenizer:
        from uer.tokenizers.sentence_piece import SpmModel, XlmRobertaTokenizer

        if (self.folder / "sentencepiece.bpe.model").is_file():
            return XlmRobertaTokenizer(SpmModel.load(self.folder / "sentencepiece.bpe.model"))
        path, kind = self.folder / "spiece.model", str(self.settings.get("tokenizer_class", ""))
        if path.is_file() and kind.startswith(("T5", "MT5", "Albert")):
            model = SpmModel.load(path)
            extra = self.settings.get("extra_ids", 100) if "T5" in kind else 0
            tokens = [*model.pieces, *(f"<extra_id_{number}>" for number in reversed(range(extra)))]
            pipeline = unigram(model, tokens, model.processor.unk_id())
            control = [
                piece for number, piece in enumerate(model.pieces) if model.processor.is_control(number)
            ]
            add_special(pipeline, [*control, *tokens[len(model.pieces) :]])
            content = pipeline.to_str().encode("utf-8")
            return FolderTokenizer(content, self.special(content), path)
        raise DataError(
            f"holds no {JSON_NAME}, vocab.txt, vocab.json with merges.txt, sentencepiece.bpe.model, or "
            "spiece.model of a T5 or ALBERT; give the tokenizer by flags, or write tokenizer.json with "
            "transformers (save_pretrained of the tokenizer).",
            path=self.folder,
        )
