"""The vocabulary file: ids, faults with their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from uer.errors import DataError
from uer.tokenizers.vocab import Vocab
from uer.utils.known_files import KNOWN_FILES


def write(tmp_path, data: bytes, name: str = "vocab.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


def test_line_number_is_the_id(tmp_path) -> None:
    vocab = Vocab.load(write(tmp_path, "[PAD]\n中\t7\n  the 99\n".encode()))
    assert vocab.tokens == ["[PAD]", "中", "the"] and vocab.index["the"] == 2 and len(vocab) == 3
    assert "中" in vocab and "99" not in vocab


@pytest.mark.parametrize("data", ["a\nb", "a\nb\n", "a\r\nb\r\n", "\ufeffa\nb\n", "a\rb"])
def test_line_ends_and_byte_order_mark(tmp_path, data: str) -> None:
    assert Vocab.load(write(tmp_path, data.encode())).tokens == ["a", "b"]


def test_a_blank_line_keeps_its_id(tmp_path) -> None:
    vocab = Vocab.load(write(tmp_path, b"a\n\n \nb\n\n"))
    assert vocab.tokens == ["a", "", "", "b", ""] and vocab.index == {"a": 0, "b": 3} and "" not in vocab


def test_of_a_repeated_token_the_last_counts(tmp_path, caplog) -> None:
    vocab = Vocab.load(write(tmp_path, b"a\nb\na\nc\nb\n"))
    assert vocab.index == {"a": 2, "b": 4, "c": 3} and vocab.tokens[0] == "a"
    assert (
        "2 token(s) stand on several lines, such as 'a' on lines 1 and 3; the last line's id" in caplog.text
    )


def test_what_is_saved_is_what_is_loaded(tmp_path) -> None:
    vocab = Vocab(["a", "", "##b", "Ġthe", "", ""])
    vocab.save(tmp_path / "out.txt")
    assert Vocab.load(tmp_path / "out.txt").tokens == vocab.tokens


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), max_size=8), min_size=1))
def test_any_tokens_survive(tmp_path_factory, tokens: list[str]) -> None:
    tokens = ["x", *tokens]
    path = tmp_path_factory.mktemp("vocab") / "v.txt"
    Vocab(tokens).save(path)
    assert Vocab.load(path).tokens == tokens


def test_real_vocabularies(shared) -> None:
    sizes = {"google_zh_vocab.txt": 21128, "google_zh_with_sentinel_vocab.txt": 21228}
    sizes |= {"google_uncased_en_vocab.txt": 30522, "google_cased_en_vocab.txt": 28996}
    for name, size in {**sizes, "huggingface_gpt2_vocab.txt": 50265}.items():
        vocab = Vocab.load(shared / "data/models" / name)
        # Google's Chinese list has U+2028, a line separator, as a token: to us a blank line, never matched.
        assert len(vocab) == size and len(vocab.index) == size - ("zh" in name)


@pytest.mark.parametrize(
    "data, message",
    [
        (b"", "is empty; a vocabulary file holds one token a line"),
        (b"\n \n", "is empty"),
        ("a\n中\n".encode() + b"\xff\n", ":3: is not UTF-8: byte 0xff at offset 6; save the file as UTF-8"),
        (b"\xef\xbb\xbfa\n\xff", ":2: is not UTF-8: byte 0xff at offset 5"),
    ],
)
def test_faults(tmp_path, data: bytes, message: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(DataError) as caught:
        Vocab.load(path)
    assert message in str(caught.value) and str(path) in str(caught.value)


def test_missing_files(tmp_path) -> None:
    with pytest.raises(DataError, match="does not exist; give a file that exists with --vocab_path"):
        Vocab.load(tmp_path / "none.txt")
    with pytest.raises(DataError, match="is a folder; give a file with --vocab_path"):
        Vocab.load(tmp_path)
    for name, known in KNOWN_FILES.items():
        with pytest.raises(DataError) as caught:
            Vocab.load(tmp_path / name)
        assert known.what in str(caught.value)
        assert (f"python3 scripts/download.py {name}" in str(caught.value)) == (known.repo is not None)
