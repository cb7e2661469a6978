"""Public vocabulary and sentencepiece files by the names in UER's commands: what and where they are.

They are not ours to ship. An error about a missing one says what it is and which command fetches it;
`scripts/download.py` fetches from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class KnownFile:
    """One public file.

    Attributes:
        name: the file name that UER's documents use.
        what: what it is, as a phrase that follows "is".
        repo: the Hugging Face hub repository that holds a file of the same content, None when none is known
            to us.
        file: the file's name there.
        form: "same" when the bytes are used as they are; "json_vocab" when the hub's file is a JSON object
            token → id that becomes one token a line, ordered by id.
    """

    name: str
    what: str
    repo: str | None
    file: str | None
    form: str = "same"


_FILES = (
    KnownFile(
        "google_zh_vocab.txt",
        "Google's Chinese BERT vocabulary",
        "google-bert/bert-base-chinese",
        "vocab.txt",
    ),
    KnownFile(
        "google_uncased_en_vocab.txt",
        "Google's lower-cased English BERT vocabulary",
        "google-bert/bert-base-uncased",
        "vocab.txt",
    ),
    KnownFile(
        "google_cased_en_vocab.txt",
        "Google's cased English BERT vocabulary",
        "google-bert/bert-base-cased",
        "vocab.txt",
    ),
    KnownFile(
        "google_zh_with_sentinel_vocab.txt",
        "Google's Chinese vocabulary with 100 sentinel tokens for T5",
        "uer/t5-small-chinese-cluecorpussmall",
        "vocab.txt",
    ),
    KnownFile(
        "huggingface_gpt2_vocab.txt",
        "the byte-level vocabulary of GPT-2 and RoBERTa",
        "FacebookAI/roberta-base",
        "vocab.json",
        "json_vocab",
    ),
    KnownFile(
        "huggingface_gpt2_merges.txt", "the byte-level merges of GPT-2", "openai-community/gpt2", "merges.txt"
    ),
    KnownFile("cluecorpussmall_spm.model", "UER's sentencepiece model of CLUECorpusSmall", None, None),
    KnownFile(
        "xlmroberta_spm.model",
        "the sentencepiece model of XLM-RoBERTa",
        "FacebookAI/xlm-roberta-base",
        "sentencepiece.bpe.model",
    ),
)
KNOWN_FILES: dict[str, KnownFile] = {known.name: known for known in _FILES}


def hint(path: str | Path) -> str:
    """For a missing file of a known name: what it is and how to get it; otherwise an empty string."""
    known = KNOWN_FILES.get(Path(path).name)
    if known is None:
        return ""
    if known.repo is None:
        return f" It is {known.what}; the UER-py repository has it under models/."
    return f" It is {known.what}; fetch it with: python3 scripts/download.py {known.name}"
