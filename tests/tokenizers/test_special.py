"""Special tokens: maps of UER and of Hugging Face, faults."""

from __future__ import annotations

import json

import pytest

from uer.errors import DataError
from uer.tokenizers.special import BERT, XLMR, SpecialTokens

UER_MAP = {
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
    "pad_token": "[PAD]",
}


def write(tmp_path, value):
    path = tmp_path / "special_tokens_map.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return path


def test_file_and_folder(tmp_path) -> None:
    path = write(tmp_path, {**UER_MAP, "sentinel_token": "<extra_id_0>"})
    assert SpecialTokens.load(path) == SpecialTokens.load(tmp_path) == BERT
    assert SpecialTokens.load(write(tmp_path, {**UER_MAP, "unk_token": "?"})).unk == "?"


def test_hugging_face_form(tmp_path) -> None:
    values = {
        "bos_token": "<s>",
        "cls_token": "<s>",
        "eos_token": "</s>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "pad_token": "<pad>",
        "mask_token": {"content": "<mask>", "lstrip": True, "normalized": False},
    }
    assert SpecialTokens.load(write(tmp_path, values)) == XLMR


def test_round_trip(tmp_path) -> None:
    special = SpecialTokens("u", "c", "s", "m", "p", None)
    special.save(tmp_path / "map.json")
    assert SpecialTokens.load(tmp_path / "map.json").required() == special.required()
    assert "sentinel_token" not in special.to_map()


@pytest.mark.parametrize(
    "value, message",
    [
        ({k: v for k, v in UER_MAP.items() if k != "mask_token"}, "has no 'mask_token'"),
        ({**UER_MAP, "pad_token": 0}, "has no 'pad_token'"),
        ({**UER_MAP, "sentinel_token": 0}, "has no 'sentinel_token'"),
        ("{\n,", ":2: is not valid JSON"),
        ("[]", "holds a list; a special-token map is a JSON object"),
    ],
)
def test_faults(tmp_path, value, message: str) -> None:
    with pytest.raises(DataError) as caught:
        SpecialTokens.load(write(tmp_path, value))
    assert message in str(caught.value)


def test_unreadable(tmp_path) -> None:
    with pytest.raises(DataError, match="special-token map cannot be read"):
        SpecialTokens.load(tmp_path)
    (tmp_path / "m.json").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"is not UTF-8 \(byte 0\)"):
        SpecialTokens.load(tmp_path / "m.json")
