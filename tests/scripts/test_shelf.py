"""The tools that look into a model, on a Hugging Face folder and a file of ours, against transformers."""

from __future__ import annotations

import re
import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity
from transformers import BertConfig, BertForMaskedLM

from uer.checkpoints import load_into, write_state
from uer.cli import run
from uer.config.model import ModelConfig
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.tasks import features as features_module
from uer.tokenizers import build_tokenizer

CHARACTERS = [chr(0x4E00 + number) for number in range(60)]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *CHARACTERS]
LINES = ["一丁丂七丄", "丅丆万丈三上下", "丌不与丏丐丑丒专且丕世", "丗", "丘丙业丛东丝丞"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A random BERT of transformers, its folder, and the same texts in a file."""
    folder = tmp_path_factory.mktemp("bert")
    config = BertConfig(
        vocab_size=len(WORDS),
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=40,
        initializer_range=0.3,
    )
    torch.manual_seed(1)
    model = BertForMaskedLM(config).eval()
    model.save_pretrained(folder / "model")
    (folder / "model" / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    (folder / "text.txt").write_text("\n\n".join(LINES) + "\n", encoding="utf-8")
    return folder, model


@pytest.fixture
def tool(bert, load_script, capsys):
    """`tool("cloze_test", flag=value …)` runs a script on the folder; its screen."""
    folder, _ = bert

    def call(name, code=0, model=None, **flags):
        words = ["--load_model_path", str(model or folder / "model")]
        for flag, value in flags.items():
            words += [f"--{flag}", *map(str, value if isinstance(value, list) else [value])]
        capsys.readouterr()
        assert run(load_script(f"scripts/{name}.py").main, [word for word in words if word != "True"]) == code
        return capsys.readouterr()

    return call


def ids(text, sep=True):
    return [2, *(WORDS.index(c) for c in text), *([3] if sep else [])]


def hidden(model, text, sep):
    with torch.no_grad():
        out = model.bert(torch.tensor([ids(text, sep)]), output_hidden_states=True)
    return [layer[0] for layer in out.hidden_states]


def test_blanks_have_the_probabilities_of_transformers(bert, tool, tmp_path):
    _, model = bert
    (tmp_path / "in.txt").write_text("一丁[MASK]七[MASK]\n", encoding="utf-8")
    tool("cloze_test", test_path="in.txt", prediction_path="out.txt", topn=3, output_prob=True)
    lines = (tmp_path / "out.txt").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "一丁[MASK]七[MASK]" and lines[3:] == ["", ""]
    said = tool("cloze_test", test_path="in.txt", prediction_path="-", topn=3, output_prob=True).out
    assert said.split("\n") == lines and not (tmp_path / "-").exists()
    with torch.no_grad():
        logits = model(torch.tensor([[2, 5, 6, 4, 8, 4, 3]])).logits[0]
    for line, place in zip(lines[1:3], (3, 5)):
        best = logits[place].softmax(dim=-1).topk(3)
        given = [word.rsplit(":", 1) for word in line.removeprefix("Predicted answer: ").split(" ")]
        assert [token for token, _ in given] == [WORDS[number] for number in best.indices]
        assert [float(p) for _, p in given] == pytest.approx(best.values.tolist(), abs=2e-6)


def test_a_token_is_masked_at_random_where_no_blank_stands(bert, tool, tmp_path):
    folder, model = bert
    texts = []
    for seed in (7, 7, 8):
        tool("cloze_test", test_path=folder / "text.txt", prediction_path="out.txt", topn=2, seed=seed)
        texts.append((tmp_path / "out.txt").read_text(encoding="utf-8"))
    assert texts[0] == texts[1] != texts[2]
    for line, block in zip(LINES, texts[0].strip("\n").split("\n\n")):
        first, predicted, correct = block.split("\n")
        answer = correct.removeprefix("Correct answer: ")
        assert first == line and answer in line
        place = 1 + line.index(answer)
        row = ids(line)
        row[place] = 4
        with torch.no_grad():
            best = model(torch.tensor([row])).logits[0, place].topk(2).indices
        assert predicted == f"Predicted answer: {' '.join(WORDS[number] for number in best)}"


def test_batches_and_cuts_of_blanks(bert, tool, tmp_path):
    folder, _ = bert
    outs = []
    for size in (1, 4):
        tool("cloze_test", test_path=folder / "text.txt", prediction_path="out.txt", batch_size=size)
        outs.append((tmp_path / "out.txt").read_text(encoding="utf-8"))
    assert outs[0] == outs[1]
    (tmp_path / "in.txt").write_text("一丁丂七丄[MASK]\n", encoding="utf-8")
    err = tool("cloze_test", 2, test_path="in.txt", prediction_path="o", seq_length=5).err
    assert "no [MASK] within its first 5 tokens" in err


@pytest.mark.parametrize("pooling", ["first", "last", "mean", "max"])
@pytest.mark.parametrize("layers", [1, 2])
def test_features_are_those_of_transformers(bert, tool, tmp_path, pooling, layers):
    folder, model = bert
    out = tool(
        "extract_features",
        test_path=folder / "text.txt",
        prediction_path="f.npy",
        pooling=pooling,
        last_layers=layers,
        batch_size=2,
    ).out
    assert "(sentences_num * vector size): torch.Size([5, 16])" in out
    expected = []
    for line in LINES:
        states = torch.stack(hidden(model, line, False)[-layers:]).mean(dim=0)
        pooled = {"first": states[0], "last": states[-1], "mean": states.mean(0), "max": states.amax(0)}
        expected.append(pooled[pooling])
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), torch.stack(expected), atol=1e-5)


def test_the_three_forms_hold_the_same(bert, tool, tmp_path, monkeypatch):
    import pyarrow.parquet

    folder, model = bert
    monkeypatch.setattr(features_module, "TEXTS_AT_A_TIME", 2)  # several chunks
    for name in ("f.npy", "f.pt", "f.parquet"):
        tool("extract_features", test_path=folder / "text.txt", prediction_path=name, single_text_sep=True)
    array = np.load(tmp_path / "f.npy")
    expected = torch.stack([hidden(model, line, True)[-1][0] for line in LINES])
    np.testing.assert_allclose(array, expected, atol=1e-5)
    torch.testing.assert_close(torch.load(tmp_path / "f.pt", weights_only=True), torch.from_numpy(array))
    column = pyarrow.parquet.read_table(tmp_path / "f.parquet")["feature"].to_pylist()
    np.testing.assert_array_equal(np.array(column, np.float32), array)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["f.npy", "f.parquet", "f.pt"]


@pytest.mark.parametrize("whitening", [None, 8])
@pytest.mark.parametrize("form", ["npy", "pt", "parquet"])
def test_memory_does_not_grow_with_the_number_of_texts(tmp_path, monkeypatch, form, whitening):
    import pyarrow

    monkeypatch.setattr(features_module, "TEXTS_AT_A_TIME", 512)
    part = 512 * 64 * 4  # bytes of a chunk, of which there are 256
    draw = np.random.default_rng(3)
    vectors = (draw.standard_normal((512, 64), dtype=np.float32) for _ in range(256))
    arrow = pyarrow.default_memory_pool()
    before = arrow.max_memory()
    tracemalloc.start()
    try:
        shape = features_module.write_vectors(vectors, str(tmp_path / "f"), form, whitening)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert shape == (512 * 256, whitening or 64)
    assert peak < 20 * part and arrow.max_memory() - before < 20 * part
    assert (tmp_path / "f").stat().st_size >= 512 * 256 * (whitening or 64) * 4


def test_texts_are_read_while_vectors_are_written(bert, tool, tmp_path, monkeypatch):
    """No more lines are asked for than a chunk holds."""
    folder, _ = bert
    monkeypatch.setattr(features_module, "TEXTS_AT_A_TIME", 2)
    asked, written = [], []
    read, fill = features_module.read_lines, features_module.in_order

    def lines(path):
        for number, line in read(path):
            asked.append(number)
            yield number, line

    def vectors(*words, **named):
        written.append(len(asked))
        return fill(*words, **named)

    monkeypatch.setattr(features_module, "read_lines", lines)
    monkeypatch.setattr(features_module, "in_order", vectors)
    tool("extract_features", test_path=folder / "text.txt", prediction_path="f.npy")
    assert len(written) == 3 and written[0] <= 4 and written == sorted(set(written))


def test_whitening(bert, tool, tmp_path, monkeypatch):
    folder, _ = bert
    monkeypatch.setattr(features_module, "TEXTS_AT_A_TIME", 2)
    tool("extract_features", test_path=folder / "text.txt", prediction_path="raw.npy")
    tool("extract_features", test_path=folder / "text.txt", prediction_path="w.npy", whitening_size=3)
    raw = np.load(tmp_path / "raw.npy").astype(np.float64)
    axes, spread, _ = np.linalg.svd(np.cov(raw.T))
    white = (raw - raw.mean(axis=0)) @ (axes / np.sqrt(spread))[:, :3]
    white /= np.linalg.norm(white, axis=1, keepdims=True)
    given = np.load(tmp_path / "w.npy")
    signs = np.sign((white * given).sum(axis=0))  # an axis may point either way
    np.testing.assert_allclose(given, white * signs, atol=1e-4)
    err = tool(
        "extract_features", 2, test_path=folder / "text.txt", prediction_path="w.npy", whitening_size=5
    ).err
    assert "span 4 dimensions" in err and "5 texts" in err


def test_features_of_a_recurrent_encoder(bert, tool, tmp_path):
    folder, _ = bert
    tokenizer = build_tokenizer("bert", vocab_path=folder / "model" / "vocab.txt")
    sizes = {"emb_size": 8, "hidden_size": 8, "feedforward_size": 8, "heads_num": 2, "layers_num": 2}
    config = ModelConfig(**sizes, encoder="lstm", embedding=("word",), target=("lm",))
    model = build_model(config, len(tokenizer)).eval()
    initialize(model)
    write_state(tmp_path / "lstm.bin", model.state_dict(), config=config, tokenizer=tokenizer)
    common = {"model": "lstm.bin", "test_path": folder / "text.txt", "prediction_path": "f.npy"}
    tool("extract_features", **common, pooling="last")
    with torch.no_grad():
        expected = [model.encode({"src": torch.tensor([ids(line, False)])}).hidden[0, -1] for line in LINES]
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), torch.stack(expected), atol=1e-5)
    tool("extract_features", **common, pooling="last", last_layers=2)
    with torch.no_grad():
        rows = [model.encode({"src": torch.tensor([ids(line, False)])}, all_layers=True) for line in LINES]
    expected = [torch.stack(row.layers[-2:]).mean(dim=0)[0, -1] for row in rows]
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), torch.stack(expected), atol=1e-5)
    assert "has 2 layers" in tool("extract_features", 2, **common, last_layers=3).err
    assert "no head that fills blanks" in tool("cloze_test", 2, **common).err


@pytest.mark.parametrize("pooling", ["first", "last", "mean", "max"])
def test_every_pooling_is_whitened(bert, tool, tmp_path, pooling):
    folder, _ = bert
    common = {"test_path": folder / "text.txt", "pooling": pooling}
    tool("extract_features", **common, prediction_path="raw.npy")
    tool("extract_features", **common, prediction_path="w.npy", whitening_size=2)
    raw = np.load(tmp_path / "raw.npy").astype(np.float64)
    axes, spread, _ = np.linalg.svd(np.cov(raw.T))
    white = (raw - raw.mean(axis=0)) @ (axes / np.sqrt(spread))[:, :2]
    expected = cosine_similarity(white)  # an axis may point either way
    np.testing.assert_allclose(cosine_similarity(np.load(tmp_path / "w.npy")), expected, atol=1e-4)


@pytest.fixture
def dual(bert, tmp_path):
    """A model of two streams, the first with the weights of the BERT; the second reads otherwise."""
    folder, _ = bert
    tokenizer = build_tokenizer("bert", vocab_path=folder / "model" / "vocab.txt")
    sizes = {"emb_size": 16, "hidden_size": 16, "feedforward_size": 24, "heads_num": 2, "layers_num": 3}
    stream = {**sizes, "max_seq_length": 40, "embedding": ["word", "pos", "seg"], "encoder": "transformer"}
    pair = {"embedding": ("dual",), "encoder": "dual", "stream_0": stream, "stream_1": stream}
    config = ModelConfig(**sizes, **pair, layernorm_eps=1e-12, target=())
    siamese = build_model(config, len(tokenizer)).eval()
    alone = build_model(ModelConfig(**stream, layernorm_eps=1e-12, target=()), len(tokenizer))
    load_into(alone, folder / "model")
    initialize(siamese)
    siamese.embedding.dual.embedding_0.load_state_dict(alone.embedding.state_dict())
    siamese.encoder.encoder_0.load_state_dict(alone.encoder.state_dict())
    write_state(tmp_path / "dual.bin", siamese.state_dict(), config=config, tokenizer=tokenizer)
    return siamese


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_features_of_either_stream_of_a_dual_model(bert, dual, tool, tmp_path, pooling):
    folder, model = bert
    common = {"model": "dual.bin", "test_path": folder / "text.txt", "pooling": pooling}
    tool("extract_features", **common, prediction_path="f.npy")
    states = [hidden(model, line, True)[-1] for line in LINES]  # its texts end with [SEP]
    expected = torch.stack([state[0] if pooling == "first" else state.mean(0) for state in states])
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), expected, atol=1e-5)
    rows = [torch.tensor([ids(line)]) for line in LINES]
    for number, separated in ((0, "false"), (1, "true")):
        more = {"dual_stream": number, "single_text_sep": separated, "last_layers": 1}
        tool("extract_features", **common, **more, prediction_path="f.npy")
        found = np.load(tmp_path / "f.npy")
        if number:
            inputs = [
                {f"{n}_{k}": x for k in (0, 1) for n, x in (("src", row), ("seg", row.sign()))}
                for row in rows
            ]
            with torch.no_grad():
                outs = [dual.encode_pair(pair)[1].hidden[0] for pair in inputs]
            outs = [out[0] if pooling == "first" else out.mean(0) for out in outs]
            np.testing.assert_allclose(found, torch.stack(outs), atol=1e-5)
        else:
            assert np.abs(found - expected.numpy()).max() > 1e-3  # without the [SEP]
    tool("extract_features", **common, prediction_path="w.npy", whitening_size=3, last_layers=2)
    assert np.load(tmp_path / "w.npy").shape == (5, 3)


def test_a_stream_of_a_model_that_has_one(bert, tool):
    folder, _ = bert
    flags = {"test_path": folder / "text.txt", "prediction_path": "f.npy", "dual_stream": 1}
    assert "this one has --encoder transformer" in tool("extract_features", 2, **flags).err


def test_word_vectors(bert, tool, tmp_path):
    _, model = bert
    tool("extract_embeddings", word_embedding_path="e.txt")
    lines = (tmp_path / "e.txt").read_text(encoding="utf-8").splitlines()
    assert lines[0] == f"{len(WORDS)} 16"
    assert [line.split(" ")[0] for line in lines[1:]] == WORDS
    table = np.array([[float(x) for x in line.split(" ")[1:]] for line in lines[1:]], np.float32)
    np.testing.assert_array_equal(table, model.bert.embeddings.word_embeddings.weight.detach().numpy())


def test_word_vectors_need_the_models_own_vocabulary(tool, tmp_path):
    (tmp_path / "v.txt").write_text("\n".join([*WORDS, "more"]) + "\n", encoding="utf-8")
    err = tool("extract_embeddings", 2, word_embedding_path="e.txt", vocab_path="v.txt").err
    assert "65 word vectors and the vocabulary 66 tokens" in err
    model = torch.nn.Linear(2, 2)
    torch.save(model.state_dict(), tmp_path / "m.bin")
    assert "no companion folder" in tool("extract_embeddings", 2, model="m.bin", word_embedding_path="e").err
    err = tool("extract_embeddings", 2, model="m.bin", word_embedding_path="e", vocab_path="v.txt").err
    assert "holds no word vectors" in err


def test_nearest_words(bert, tool, tmp_path):
    _, model = bert
    (tmp_path / "w.txt").write_text("一\n没有\n丙\n", encoding="utf-8")
    said = tool("topn_words_indep", test_path="w.txt", topn=4)
    out = said.out
    assert "w.txt:2: the vocabulary has no token '没有'" in said.err
    table = model.bert.embeddings.word_embeddings.weight.detach().numpy()
    blocks = out.strip("\n").split("\n\n")
    assert len(blocks) == 2
    for word, block in zip("一丙", blocks):
        lines = block.split("\n")
        assert lines[0] == f"Target word: {word}"
        own = WORDS.index(word)
        cosines = cosine_similarity(table[own : own + 1], table)[0]
        cosines[own] = -2
        best = np.argsort(-cosines)[:4]
        assert [line.split("\t")[0] for line in lines[1:]] == [WORDS[number] for number in best]
        assert [float(line.split("\t")[1]) for line in lines[1:]] == pytest.approx(cosines[best], abs=1e-5)


def test_words_in_context(bert, tool, tmp_path):
    _, model = bert
    (tmp_path / "in.txt").write_text("丂七\t一丁丂七丄\n", encoding="utf-8")
    (tmp_path / "cand.txt").write_text("丂七\n三\n上下丌\n不与\n", encoding="utf-8")
    out = tool("topn_words_dep", test_path="in.txt", cand_vocab_path="cand.txt", topn=3, batch_size=3).out
    lines = out.split("\n")
    assert lines[:2] == ["Original sentence: 一丁丂七丄", "Target word: 丂七"]

    def state(word):
        row = torch.tensor([[WORDS.index(c) for c in f"一丁{word}丄"]])
        with torch.no_grad():
            return model.bert(row).last_hidden_state[0, 2 : 2 + len(word)].mean(dim=0)

    cosines = {
        word: float(torch.cosine_similarity(state(word), state("丂七"), dim=0))
        for word in ("丂七", "三", "上下丌", "不与")
    }
    best = sorted(cosines, key=cosines.get, reverse=True)[:3]
    assert best[0] == "丂七"
    given = [line.split("\t") for line in lines[2:5]]
    assert [word for word, _ in given] == best
    assert [float(value) for _, value in given] == pytest.approx([cosines[word] for word in best], abs=1e-5)
    (tmp_path / "in.txt").write_text("三\t一丁丂\n", encoding="utf-8")
    assert "in.txt:1: the sentence does not hold" in tool(
        "topn_words_dep", 2, test_path="in.txt", cand_vocab_path="cand.txt"
    ).err  # fmt: skip
    (tmp_path / "in.txt").write_text("一丁丂\n", encoding="utf-8")
    assert "has 1 columns" in tool("topn_words_dep", 2, test_path="in.txt", cand_vocab_path="cand.txt").err


def test_differences_of_vocabularies(load_script, tmp_path, capsys):
    (tmp_path / "a.txt").write_text("x\ny\nz\n")
    (tmp_path / "b.txt").write_text("y\nz\nw\nv\n")
    assert run(load_script("scripts/diff_vocab.py").main, ["--vocab_1", "a.txt", "--vocab_2", "b.txt"]) == 0
    numbers = [int(re.search(r"(\d+)$", line)[1]) for line in capsys.readouterr().out.splitlines()]
    assert numbers == [3, 4, 1, 2, 2]


@pytest.mark.parametrize(
    ("name", "flags", "message"),
    [
        ("cloze_test", {"prediction_path": "o"}, "holds no text"),
        ("extract_features", {"prediction_path": "o"}, "holds no text"),
        ("topn_words_indep", {}, "names no token"),
        ("topn_words_dep", {"cand_vocab_path": "empty.txt"}, "names no word"),
    ],
)
def test_empty_files(tool, tmp_path, name, flags, message):
    (tmp_path / "empty.txt").write_text("\n")
    assert message in tool(name, 2, test_path="empty.txt", **flags).err
    assert not (tmp_path / "o").exists()
