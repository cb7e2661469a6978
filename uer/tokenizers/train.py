"""New vocabularies: tokens by count, or pieces learnt by the libraries, behind UER's reserved entries."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator

from uer.errors import ConfigError, UerError

# UER's order: padding first, room for entries to come, then the other special tokens.
RESERVED = ("[PAD]", *(f"[unused{n}]" for n in range(1, 100)), "[UNK]", "[CLS]", "[SEP]", "[MASK]")
# sentencepiece leaves out sentences of more than 4192 bytes; none of this many characters is longer.
SENTENCE = 1000


def counted(counts: dict[str, int], min_count: int, vocab_size: int | None) -> list[str]:
    """The reserved entries, then tokens by falling count; equal ones as they were first seen."""
    reserved = set(RESERVED)
    tokens = [token for token, count in counts.items() if count >= min_count and token not in reserved]
    tokens.sort(key=lambda token: -counts[token])
    return [*RESERVED, *tokens][:vocab_size]


def train_wordpiece(
    lines: Callable[[], Iterable[str]], *, vocab_size: int, min_count: int, do_lower_case: bool
) -> list[str]:
    """WordPiece entries in id order, learnt on the words that `BertTokenizer` cuts.

    Args:
        lines: gives the text, from its beginning, each time it is called.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

    library = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    library.normalizer = normalizers.BertNormalizer(lowercase=do_lower_case)
    library.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    # The library numbers letters inside words as a hash table gives them, and breaks ties by number: named
    # in advance, they make the same corpus give the same vocabulary.
    inner = [f"##{letter}" for letter in letters_of(lines(), do_lower_case)]
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        special_tokens=[*RESERVED, *inner],
        show_progress=False,
    )
    library.train_from_iterator(lines(), trainer)
    return _in_order(library.get_vocab())


def letters_of(lines: Iterable[str], do_lower_case: bool) -> list[str]:
    """The letters that words of these lines are made of, as BERT normalises them, in code point order."""
    import numpy as np

    from uer.tokenizers.bert_chars import LETTER, MOVES, UNICODE_SIZE, load

    seen = np.zeros(UNICODE_SIZE, bool)
    for line in lines:
        seen[np.array(line + "\n").reshape(1).view(np.uint32)] = True
    table = load(do_lower_case)
    letters = set(table.letters[seen & ((table.classes == LETTER) | (table.classes == MOVES))].tolist())
    for entry in np.flatnonzero(seen[table.expand_codes]):
        letters.update(table.expand_pool[slice(*table.expand_starts[entry : entry + 2])].tolist())
    return [chr(letter) for letter in sorted(letters)]


def train_bpe(
    lines: Iterable[str], *, vocab_size: int, min_count: int
) -> tuple[list[str], list[tuple[str, str]]]:
    """Byte-level BPE: entries in id order (every byte is one), and merges."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=min_count,
        special_tokens=list(RESERVED),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    library.train_from_iterator(lines, trainer)
    merges = json.loads(library.to_str())["model"]["merges"]
    return _in_order(library.get_vocab()), [(left, right) for left, right in merges]


def train_sentencepiece(lines: Iterable[str], *, vocab_size: int, threads: int) -> bytes:
    """A unigram sentencepiece model; its first pieces are `[PAD] [UNK] [CLS] [SEP] [MASK] [unused1] …`.

    Raises:
        ConfigError: the size is too small for the characters of the corpus.
        UerError: as `lines` raised it.
    """
    import sentencepiece

    out, faults = io.BytesIO(), []

    def sentences() -> Iterator[str]:
        """The text, up to what is wrong with it."""
        # sentencepiece would turn an error of ours into one of its own, so it sees an early end instead.
        try:
            yield from _sentences(lines)
        except UerError as error:
            faults.append(error)

    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=sentences(),
            model_writer=out,
            vocab_size=vocab_size,
            hard_vocab_limit=False,
            num_threads=threads,
            pad_id=0,
            unk_id=1,
            bos_id=2,
            eos_id=3,
            pad_piece="[PAD]",
            unk_piece="[UNK]",
            bos_piece="[CLS]",
            eos_piece="[SEP]",
            control_symbols=["[MASK]", *RESERVED[1:100]],
            minloglevel=2,
        )
    except RuntimeError as error:
        if faults:
            raise faults[0] from None
        # "INTERNAL: file(line) [condition] Reason. Advice about sentencepiece's own options."
        reason = str(error).splitlines()[-1].split("] ")[-1].split(" Increase")[0].strip(" .")
        raise ConfigError(
            f"sentencepiece could not learn {vocab_size} pieces ({reason}); give another --vocab_size."
        ) from error
    if faults:
        raise faults[0]
    return out.getvalue()


def _sentences(lines: Iterable[str]) -> Iterator[str]:
    """Lines in pieces that sentencepiece does not leave out for their length."""
    for line in lines:
        for start in range(0, len(line), SENTENCE):
            yield line[start : start + SENTENCE]


def _in_order(index: dict[str, int]) -> list[str]:
    tokens = sorted(index, key=index.__getitem__)
    assert [index[token] for token in tokens] == list(range(len(tokens)))
    return tokens
