"""Exported models with exported tokenizers: `model(**tokenizer(text))`, as everybody types it, for every
family and every kind of tokenizer; the numbers are ours.
"""

from __future__ import annotations

import json

import pytest
import torch

from tests.checkpoints.folders import BRACKETS, TEXTS, WORDS, byte_level, make, sentence_piece, vocabulary
from tests.checkpoints.parity_cases import cases
from uer.checkpoints.export import export_folder
from uer.checkpoints.families import ELSEWHERE, FAMILIES, pick_family
from uer.models.build import build_model
from uer.tasks.rows import encode_texts
from uer.tokenizers import build_tokenizer, load_tokenizer

HUGGING_FACE = [name for name in FAMILIES if not name.startswith(ELSEWHERE) and name != "ernie-m"]
BRACKET_PIECES = {
    "pad_id": 0,
    "pad_piece": "[PAD]",
    "unk_id": 1,
    "unk_piece": "[UNK]",
    "bos_id": -1,
    "eos_id": -1,
}
BRACKET_PIECES |= {"control_symbols": "[CLS],[SEP],[MASK]"}
ROWS = [("the good book", "a b"), ("我 很 喜 欢", "不 好 a very bad book")]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory):
    """Every kind of tokenizer, tiny."""
    folder = tmp_path_factory.mktemp("kinds")
    words, angles = folder / "words.txt", folder / "special.json"
    words.write_text("\n".join([*BRACKETS, *WORDS]) + "\n", encoding="utf-8")
    (folder / "brackets.model").write_bytes(sentence_piece(**BRACKET_PIECES))
    (folder / "angles.model").write_bytes(sentence_piece(unk_id=0, bos_id=1, eos_id=2, pad_id=3))
    tokens = {"unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": "<mask>", "pad": "<pad>"}
    angles.write_text(json.dumps({f"{role}_token": token for role, token in tokens.items()}))
    byte_level(("<s>", "<pad>", "</s>", "<unk>", "<mask>"))(folder)
    index = json.loads((folder / "vocab.json").read_text(encoding="utf-8"))
    (folder / "bpe.txt").write_text("\n".join(sorted(index, key=index.get)) + "\n", encoding="utf-8")
    bytes_ = {"vocab_path": folder / "bpe.txt", "merges_path": folder / "merges.txt"}
    made = {kind: build_tokenizer(kind, vocab_path=words) for kind in ("bert", "char", "space")}
    made["bert pieces"] = build_tokenizer("bert", spm_model_path=folder / "brackets.model")
    made["xlmroberta"] = build_tokenizer("xlmroberta", spm_model_path=folder / "angles.model")
    made["bpe"] = build_tokenizer("bpe", special_tokens_map=angles, **bytes_)
    for family in ("bert", "roberta", "xlm-roberta", "albert", "gpt2", "t5", "bart", "pegasus"):
        vocabulary(family, folder / family)
        made[f"folder of {family}"] = load_tokenizer(folder / family)
    return made


@pytest.mark.parametrize("name", HUGGING_FACE)
def test_model_of_tokenizer_of_text(name, kinds, tmp_path):
    """Some of the kinds, others for the next family; the slow test takes all."""
    some = list(kinds)[HUGGING_FACE.index(name) % 5 :: 5]
    each_kind(name, {kind: kinds[kind] for kind in some}, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_every_model_of_every_tokenizer(name, kinds, tmp_path):
    each_kind(name, kinds, tmp_path)


def each_kind(name, kinds, folder):
    """A model of a family, exported with each tokenizer, reads texts and pairs of texts."""
    import transformers

    family = pick_family(name)
    part = "lm" if "lm" in family.classes else ""
    case = next(case for case in cases() if case.family == name and case.part == part)
    for number, (kind, tokenizer) in enumerate(kinds.items()):
        # transformers 5.23 cannot write with T5 models whose decoder is deeper than their encoder
        depth = {"num_decoder_layers": 2} if "num_decoder_layers" in case.settings else {}
        values = {**case.settings, **depth, "model_type": family.model_types[0], "architectures": [case.cls]}
        config = family.model_config(values, "config.json")
        config = config.replace(target=tuple(part.split()), max_seq_length=64)
        ours = drawn(build_model(config, len(tokenizer)), number)
        out = folder / str(number)
        export_folder(out, ours.state_dict(), config, family, part, tokenizer=tokenizer)
        theirs = getattr(transformers, case.cls).from_pretrained(out).eval()
        cut = transformers.AutoTokenizer.from_pretrained(out)
        for texts in [[text for text, _ in ROWS]], [list(column) for column in zip(*ROWS)]:
            batch = cut(*texts, padding=True, return_tensors="pt")
            check(theirs, batch, ours, name, kind)
            bare = kind == "bpe" or name in ("gpt2", "t5", "t5-v1_1", "mt5")
            if "folder" in kind or not bare:
                columns = [dict(zip(("text_a", "text_b"), row)) for row in zip(*texts)]
                rows = encode_texts(tokenizer, columns, seq_length=64)
                wanted = rows.padded(torch.arange(2).numpy(), tokenizer.pad_id)["src"]
                assert batch["input_ids"].tolist() == wanted.tolist(), (name, kind)


def drawn(model, seed):
    """Random numbers for all weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.15 * torch.randn(parameter.shape, generator=generator))
    return model.eval()


def check(theirs, batch, ours, name, kind):
    """Their numbers of their batch are ours; models that write texts write some."""
    seen = batch["attention_mask"] > 0
    seg = batch["attention_mask"] * (1 + batch.get("token_type_ids", torch.zeros_like(batch["input_ids"])))
    with torch.no_grad():
        if theirs.config.is_encoder_decoder:
            hidden = theirs.get_encoder()(**batch).last_hidden_state
            written = theirs.generate(**batch, max_new_tokens=3, do_sample=False)
            assert (written[:, 0] == theirs.config.decoder_start_token_id).all()
        else:
            hidden = theirs(**batch, output_hidden_states=True).hidden_states[-1]
        found = ours.encode({"src": batch["input_ids"], "seg": seg}).hidden
    assert (found - hidden)[seen].abs().max() < 1e-4, (name, kind)


@pytest.mark.parametrize(
    "family", ["bert", "roberta", "xlm-roberta", "albert", "gpt2", "t5", "bart", "pegasus"]
)
def test_tokenizers_go_and_come_back(family, tmp_path):
    """Same ids of theirs before and after, same names of the special tokens."""
    from transformers import AutoTokenizer

    from uer.tokenizers.pipelines import save_for_transformers

    make(family, "Model", tmp_path / "theirs")
    before, ours = AutoTokenizer.from_pretrained(tmp_path / "theirs"), load_tokenizer(tmp_path / "theirs")
    save_for_transformers(ours, tmp_path / "out", 64, types=family in ("bert", "albert"))
    after = AutoTokenizer.from_pretrained(tmp_path / "out")
    for text in [*TEXTS, "好<mask> [MASK]x</s>", " the  good"]:
        assert after(text, "bad book").input_ids == before(text, "bad book").input_ids
    names = ("bos", "eos", "unk", "cls", "sep", "mask")
    tokens = {name: getattr(before, f"{name}_token") for name in names}
    assert {name: getattr(after, f"{name}_token") for name in names} == tokens
    assert after.pad_token is not None
    assert ("token_type_ids" in after("a")) == (family in ("bert", "albert"))
    again = load_tokenizer(tmp_path / "out")
    assert (again.frame.before, again.frame.after, again.special) == (
        *(ours.frame.before, ours.frame.after),
        ours.special,
    )
