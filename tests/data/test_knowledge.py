"""Phrases and entities: lists, spans of the corpus, and rows in which they are hidden whole."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uer.config.preprocess import MaskingOptions
from uer.data.batch import IGNORE
from uer.data.knowledge import BITS, KnowledgeFinder, TextSpan, parse_spans, read_knowledge, token_spans
from uer.data.masking import BASIC, ENTITY, INSIDE, PHRASE, UNITS, Masker
from uer.data.phrases import Phrases
from uer.data.pretrain_data import PretrainData
from uer.errors import ConfigError, DataError
from uer.tokenizers import build_tokenizer

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TEXT = "哈尔滨是黑龙江的省会,playing games in harbin"
LIST = "哈尔滨\n黑龙江\tentity\n省会\tphrase\nplaying games\tphrase\nplay\n"


@pytest.fixture
def bert(tmp_path):
    tokens = [*SPECIAL, *sorted({char for char in TEXT if "一" <= char <= "鿿"}), ","]
    tokens += ["play", "##ing", "game", "##s", "in", "har", "##bin"]
    (tmp_path / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    return build_tokenizer("bert", vocab_path=tmp_path / "vocab.txt")


def listed(tmp_path, text=LIST, name="list.txt"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return str(tmp_path / name)


def units(tokenizer, ids, marks, level):
    """The tokens of each unit of a level that is no basic unit, in words."""
    begin, inside = BITS[level]
    out = []
    for token, mark in zip(tokenizer.convert_ids_to_tokens(ids), marks.tolist()):
        if mark & inside:
            out = [*out, token] if mark & begin else [*out[:-1], f"{out[-1]} {token}"]
    return out


def test_the_longest_entry_is_found_between_borders_of_words(bert, tmp_path):
    ids = np.array(bert.encode(TEXT))
    marks = KnowledgeFinder(bert, [listed(tmp_path)])(ids)
    # "play" is a part of a word here, so it is no entity.
    assert units(bert, ids, marks, "entity") == ["哈 尔 滨", "黑 龙 江"]
    assert units(bert, ids, marks, "phrase") == ["省 会", "play ##ing game ##s"]
    words = bert.convert_ids_to_tokens(ids[(marks & BASIC) > 0])
    assert words == [*"哈尔滨是黑龙江的省会,", "play", "game", "in", "har"]
    for bit, inside in ((PHRASE, BITS["phrase"][1]), (ENTITY, BITS["entity"][1])):
        assert ((marks & bit) > 0)[(marks & inside) == 0].tolist() == (
            ((marks & BASIC) > 0)[(marks & inside) == 0].tolist()
        )


def test_every_kind_of_vocabulary_finds_its_entries(shared, tmp_path):
    """Pieces of sentencepiece and byte BPE look different at the beginning of a text."""
    models = shared / "data" / "models"
    for tokenizer in (
        build_tokenizer("bert", spm_model_path=models / "cluecorpussmall_spm.model"),
        build_tokenizer("bert", vocab_path=models / "google_zh_vocab.txt"),
    ):
        text = "据报道，兰州日报的记者在北京采访了中国科学院"
        path = listed(tmp_path, "兰州日报\n中国科学院\n")
        ids = np.array(tokenizer.encode(text))
        marks = KnowledgeFinder(tokenizer, [path])(ids)
        found = [unit.replace(" ", "").replace("▁", "") for unit in units(tokenizer, ids, marks, "entity")]
        assert found[-1] == "中国科学院" and set(found) <= {"兰州日报", "中国科学院"}, tokenizer.name


@given(
    st.lists(st.integers(0, 3), max_size=30), st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=4))
)
def test_phrases_are_found_as_by_hand(ids, runs):
    begins = np.array([number % 3 != 1 for number in range(len(ids))], bool)
    borders = [*begins.tolist(), True]
    wanted, at = [], 0
    while at < len(ids):
        sizes = [
            len(run)
            for run in runs
            if borders[at] and ids[at : at + len(run)] == run and borders[at + len(run)]
        ]
        if sizes:
            run = ids[at : at + max(sizes)]
            wanted.append((at, len(run), runs.index(run)))
        at += max(sizes, default=1)
    numbered = [(run, number) for number, run in enumerate(runs)]
    found = Phrases(numbered).find(np.array(ids, np.int64), begins)
    assert list(zip(*(part.tolist() for part in found))) == wanted


def test_lists(tmp_path):
    lines = [{"text": "北京"}, {"text": "喝 茶", "level": "phrase"}]
    path = listed(tmp_path, "\n".join(json.dumps(line) for line in lines) + "\n\n", "list.jsonl")
    second = listed(tmp_path, "上海\n北京\n", "more.txt")
    assert read_knowledge([path, second]) == {"entity": ["北京", "上海"], "phrase": ["喝 茶"]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "北京\tcity\n", r"a\.txt:1: the level is 'city'; it must be entity or phrase"),
        ("a.txt", "x\n北京\tentiti\n", r":2: .* Did you mean 'entity'"),
        ("a.txt", "\n \n", r"a\.txt: the list is empty"),
        ("a.jsonl", "北京\n", "this is not JSON"),
        ("a.jsonl", '{"txt": "北京"}\n', "an entry is an object with a text"),
        ("a.jsonl", '{"text": "北京", "level": 3}\n', "the level is 3"),
    ],
)
def test_lists_at_fault(tmp_path, name, text, message):
    with pytest.raises(DataError, match=message):
        read_knowledge([listed(tmp_path, text, name)])


def test_spans_of_a_record():
    assert parse_spans([[5, 8, "phrase"], [0, 3]], TEXT) == [(0, 3, "entity"), (5, 8, "phrase")]
    assert parse_spans("0-3 5-8:phrase", TEXT) == parse_spans([[0, 3], [5, 8, "phrase"]], TEXT)
    assert parse_spans([[0, 3], [1, 3, "phrase"]], TEXT)  # levels may overlap


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "the field 'spans' is int"),
        ("0-", "the span is '0-'; write start-end"),
        ([[0]], r"the span is \[0\]; write \[start, end\]"),
        ([["0", 3]], "write \\[start, end\\]"),
        ([[0, 99]], "the span 0-99 lies outside of the text, which has 31 characters"),
        ([[2, 2]], "lies outside"),
        ([[0, 3, "place"]], "the level is 'place'"),
        ([[0, 3], [2, 4]], "the spans 0-3 and 2-4 overlap"),
    ],
)
def test_spans_at_fault(value, message):
    with pytest.raises(DataError, match=message):
        parse_spans(value, TEXT[:31])


def test_spans_become_tokens(bert, shared):
    spans = [parse_spans("0-3 4-7:phrase 11-18 12-14:phrase", TEXT)]
    ids, offsets = bert.encode_batch([TEXT])
    marks, lost = token_spans(bert, [TEXT], spans, ids, offsets)
    assert units(bert, ids, marks, "entity") == ["哈 尔 滨", "play ##ing"]
    assert units(bert, ids, marks, "phrase") == ["黑 龙 江"] and lost == 1  # 12-14 lies in "play"
    spm = build_tokenizer("bert", spm_model_path=shared / "data/models/cluecorpussmall_spm.model")
    text = "据报道兰州日报的记者"
    ids, offsets = spm.encode_batch([text])
    place = next(
        len(spm.decode(ids[: n + 1])) for n in range(1, len(ids)) if len(spm.decode(ids[: n + 1])) > 4
    )
    marks, lost = token_spans(spm, [text], [[TextSpan(0, place, "entity")]], ids, offsets)
    assert lost == 0 and "".join(units(spm, ids, marks, "entity")[0].split()).lstrip("▁") == text[:place]


def whole(src, labels, marks, begin, inside):
    """Whether the tokens of a unit share their fate."""
    chosen = labels != IGNORE
    goes_on = ((marks[:, 1:] & inside) > 0) & ((marks[:, 1:] & begin) == 0)
    return np.array_equal(chosen[:, 1:][goes_on], chosen[:, :-1][goes_on])


def test_the_level_decides_what_is_whole():
    """Rows of one level hide its phrases (entities) first and whole, and basic units for the rest."""
    rng = np.random.default_rng(0)
    src = rng.integers(10, 100, (3000, 40))
    marks = np.full(src.shape, BASIC | PHRASE | ENTITY)
    for start, size, (begin, inside) in ((5, 2, BITS["phrase"]), (20, 3, BITS["entity"])):
        marks[:, start : start + size] |= inside
        marks[:, start + 1 : start + size] &= ~begin
    lengths = np.full(len(src), 40)
    for shares, expected in (((1, 0, 0), (0.15, 0.15)), ((0, 1, 0), (1, 0.105)), ((0, 0, 1), (0.08, 1))):
        options = MaskingOptions(knowledge_masking=True, knowledge_levels=shares)
        masker = Masker(options, mask_id=4, special_ids=(0, 2, 3, 4), vocab_size=100)
        _, labels = masker(src, lengths, np.random.default_rng(1), marks)
        chosen = labels != IGNORE
        assert (chosen.sum(axis=1) == 6).all()
        level = int(np.argmax(shares))
        if level:
            assert whole(src, labels, marks, UNITS[level], INSIDE[level])
        assert abs(chosen[:, 5:7].mean() - expected[0]) < 0.03
        assert abs(chosen[:, 20:23].mean() - expected[1]) < 0.03
    mixed = MaskingOptions(knowledge_masking=True, knowledge_levels=(2, 1, 1))
    masker = Masker(mixed, mask_id=4, special_ids=(0, 2, 3, 4), vocab_size=100)
    _, labels = masker(src, lengths, np.random.default_rng(1), marks)
    entity = (labels[:, 20:23] != IGNORE).all(axis=1).mean()
    assert abs(entity - 0.25) < 0.04


CORPUS = "\n\n".join([f"{TEXT}\n的省会,哈尔滨是"] * 12)


@pytest.mark.parametrize("processor", ["mlm", "bert", "albert", "t5", "bart", "cls_mlm"])
def test_every_objective_that_hides_tokens_can_hide_entities(make, bert, tmp_path, processor):
    if processor == "t5":
        (tmp_path / "s.txt").write_text(
            "\n".join([*bert.vocab.tokens, "<extra_id_0>", "<extra_id_1>", "<extra_id_2>"])
        )
        bert = build_tokenizer("bert", vocab_path=tmp_path / "s.txt")
    corpus = "\n".join([f"1\t{TEXT}"] * 20) if processor == "cls_mlm" else CORPUS
    path = (listed(tmp_path),)
    flags = {"knowledge_masking": True, "knowledge_path": path, "seq_length": 64}
    for more in ({}, {"dynamic_masking": True}):
        store = make(corpus, processor, tokenizer=bert, **flags, **more)
        assert len(store["knowledge"]) == len(store["tokens"])
        assert store.header["counts"]["entities"] >= 24 and store.header["counts"]["phrases"] >= 24
        masking = MaskingOptions(knowledge_masking=True)
        assert sum(PretrainData(store, batch_size=4, masking=masking).get(0).counts.values()) > 0


def marks_of(store, batch):
    """What the dataset says of each token of the rows of a batch of mlm."""
    rows = np.zeros(batch.inputs["src"].shape, np.int64)
    for row, number in zip(rows, batch.ids):
        start, length = int(store["start"][number]), int(store["length"][number])
        row[:length] = store["knowledge"][start : start + length]
    return rows


@pytest.mark.parametrize("dynamic", [False, True])
def test_entities_of_the_corpus_are_hidden_whole(make, bert, tmp_path, dynamic):
    """Spans of the corpus come before those of a list."""
    row = {"text": TEXT, "spans": [[3, 5], [8, 10, "entity"]]}  # 是黑, 省会
    corpus = "".join(json.dumps(row) + "\n" for _ in range(30))
    (tmp_path / "corpus.jsonl").write_text(corpus)
    flags = {"knowledge_masking": True, "knowledge_levels": (0, 0, 1), "mask_rate": 0.4}
    more = {"dynamic_masking": dynamic, "knowledge_path": (listed(tmp_path),)}
    store = make(corpus, "mlm", bert, corpus_name="corpus.jsonl", **more, **flags)
    ids, marks = store["tokens"], store["knowledge"]
    assert set(units(bert, ids, marks, "entity")) == {"哈 尔 滨", "是 黑", "省 会"}
    batch = PretrainData(store, batch_size=30, masking=MaskingOptions.pick(flags)).get(0)
    rows = marks_of(store, batch)
    assert whole(batch.inputs["src"], batch.labels["mlm"], rows, *BITS["entity"])
    known = (rows & BITS["entity"][1]) > 0
    hidden = batch.labels["mlm"] != IGNORE
    assert hidden[known].mean() > hidden[~known].mean() + 0.4


def test_spans_of_a_table_and_of_documents(make, bert, tmp_path):
    table = f"text\tspans\n{TEXT}\t0-3 5-8:phrase\n{TEXT}\t\n"
    store = make(table, "mlm", bert, corpus_name="c.tsv", knowledge_masking=True, dynamic_masking=True)
    assert (store.header["counts"]["entities"], store.header["counts"]["phrases"]) == (1, 1)
    text = f"的省会\n\n{TEXT}\n省会"
    rows = [{"text": text, "spans": [[5, 8, "phrase"], [1, 3], [2, 7], [37, 38]]}, {"text": "的省会"}]
    rows[0]["spans"].pop(2)
    corpus = "".join(json.dumps(row) + "\n" for row in rows)
    store = make(corpus, "bert", bert, corpus_name="c.jsonl", knowledge_masking=True, dynamic_masking=True)
    assert units(bert, store["tokens"], store["knowledge"], "phrase") == ["哈 尔 滨"]
    assert units(bert, store["tokens"], store["knowledge"], "entity")[0] == "省 会"


def test_a_dataset_without_places_gets_them_from_a_list(make, bert, tmp_path):
    plain = make(CORPUS, "mlm", tokenizer=bert, dynamic_masking=True)
    path = listed(tmp_path)
    masking = MaskingOptions(knowledge_masking=True, knowledge_path=(path,), knowledge_levels=(0, 0, 1))
    first = PretrainData(plain, batch_size=8, masking=masking, tokenizer=bert).get(0)
    side = tmp_path / "dataset.pt.knowledge"
    content = side.read_bytes()
    again = PretrainData(plain, batch_size=8, masking=masking, tokenizer=bert).get(0)
    assert np.array_equal(first.inputs["src"], again.inputs["src"]) and side.read_bytes() == content
    listed(tmp_path, "省会\n")  # another list: the file beside the dataset is made anew
    PretrainData(plain, batch_size=8, masking=masking, tokenizer=bert)
    assert side.read_bytes() != content
    with pytest.raises(DataError, match="--knowledge_masking needs the places of phrases and entities"):
        PretrainData(plain, batch_size=8, masking=MaskingOptions(knowledge_masking=True), tokenizer=bert)


def test_faults(make, bert, tmp_path):
    with pytest.raises(DataError, match="no entity or phrase was found in the text"):
        make(CORPUS, "mlm", bert, knowledge_masking=True, knowledge_path=(listed(tmp_path, "北京\n"),))
    with pytest.raises(DataError, match="list does not exist; give a file that exists with --knowledge_path"):
        make(CORPUS, "mlm", bert, knowledge_masking=True, knowledge_path=("none.txt",))
    bad = json.dumps({"text": TEXT, "spans": [[0, 99]]}) + "\n"
    with pytest.raises(DataError, match=r"c\.jsonl:1: the span 0-99 lies outside"):
        make(bad, "mlm", bert, corpus_name="c.jsonl", knowledge_masking=True)
    make(bad, "mlm", bert, corpus_name="c.jsonl")  # nobody asked for them
    with pytest.raises(ConfigError, match="--whole_word_masking and --knowledge_masking are both given"):
        MaskingOptions(knowledge_masking=True, whole_word_masking=True)
    with pytest.raises(ConfigError, match="--knowledge_path has no meaning without --knowledge_masking"):
        MaskingOptions(knowledge_path=("a",))
    with pytest.raises(ConfigError, match="--knowledge_levels has no meaning without --knowledge_masking"):
        MaskingOptions(knowledge_levels=(1, 0, 0))
    with pytest.raises(ConfigError, match="--knowledge_levels is 1 0; give three shares"):
        MaskingOptions(knowledge_masking=True, knowledge_levels=(1, 0))


@pytest.mark.parametrize(
    ("processor", "overflow"), [("mlm", "truncate"), ("mlm", "drop"), ("bert", "split"), ("bart", "truncate")]
)
def test_spans_stay_with_their_tokens_when_texts_are_cut(make, bert, processor, overflow):
    second = len(TEXT) + 1
    row = {"text": f"{TEXT}{TEXT}", "spans": [[0, 3], [8, 10], [second, second + 3]]}  # the last one: 尔滨是
    rows = [row, {"text": "的省会"}, {"text": "的\n哈尔滨\n,", "spans": [[2, 5]]}]
    corpus = "".join(json.dumps(row) + "\n" for row in rows)
    common = {"corpus_name": "c.jsonl", "knowledge_masking": True, "dynamic_masking": True}
    store = make(corpus, processor, bert, overflow=overflow, seq_length=16, **common)
    assert len(store["knowledge"]) == len(store["tokens"])
    found = units(bert, store["tokens"], store["knowledge"], "entity")
    short = (
        [] if overflow == "drop" else ["哈 尔 滨", "省 会", *(["尔 滨 是"] if overflow == "split" else [])]
    )
    assert found == [*short, "哈 尔 滨"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 30), st.sampled_from(["entity", "phrase"]))))
def test_both_forms_of_spans_say_the_same(spans):
    text, places = "文" * 61, [[start, start + size, level] for start, size, level in spans]
    words = " ".join(f"{start}-{end}:{level}" for start, end, level in places)
    try:
        found = parse_spans(places, text)
    except DataError as error:
        assert "overlap" in error.message
        with pytest.raises(DataError, match="overlap"):
            parse_spans(words, text)
        return
    assert [list(span) for span in found] == sorted(places)
    assert parse_spans(words, text) == found
