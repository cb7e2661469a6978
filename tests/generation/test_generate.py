"""Greedy search, beams and rules against `transformers` on the same weights; batches change nothing."""

from __future__ import annotations

import pytest
import torch

from tests.generation import oracle
from uer.config.generation import DecodingOptions
from uer.errors import ConfigError
from uer.generation.generate import Generator
from uer.generation.reading import CausalReader
from uer.generation.sampling import Rules, candidates

NEW = 80
PROMPTS = [[2, 9, 31, 77], [2, 150], [2, 8, 8, 120, 44, 201, 19], [2]]


def generate(model, tokenizer, prompts=PROMPTS, *, new=NEW, batch_size=64, **options):
    options = DecodingOptions(**{"top_k": 1, "max_new_tokens": new, **options})
    generator = Generator(model, tokenizer, options, length=oracle.POSITIONS, batch_size=batch_size)
    return list(generator(prompts))


def reference(gpt2, prompt, new=NEW, **settings):
    """Their new ids; without a stop token of ours."""
    ids = torch.tensor([prompt])
    settings = {
        "do_sample": False,
        "max_new_tokens": new,
        "pad_token_id": 0,
        "eos_token_id": None,
        **settings,
    }
    with torch.no_grad():
        return gpt2.generate(ids, attention_mask=torch.ones_like(ids), **settings)


def new_ids(out, prompt, end=None):
    ids = out[0][len(prompt) :].tolist()
    return ids[: ids.index(end)] if end in ids else ids


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"repetition_penalty": 1.3}, {"repetition_penalty": 1.3}),
        ({"repetition_penalty": 0.8}, {"repetition_penalty": 0.8}),
        ({"no_repeat_ngram_size": 2}, {"no_repeat_ngram_size": 2}),
        ({"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 1}),
        (
            {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1},
            {"no_repeat_ngram_size": 3, "repetition_penalty": 1.1},
        ),
    ],
)
def test_greedy_is_theirs(gpt2, model, tokenizer, ours, theirs):
    texts = generate(model, tokenizer, **ours)
    for prompt, (text,) in zip(PROMPTS, texts):
        assert text.ids == new_ids(reference(gpt2, prompt, **theirs), prompt)
        # No loop that would hide a fault; a penalty below 1 asks for one.
        assert len(text.ids) == NEW and (len(set(text.ids)) >= 20 or "repetition_penalty" in ours)


def test_alone_in_a_batch_and_without_a_cache_the_same(model, tokenizer):
    together = generate(model, tokenizer)
    alone = generate(model, tokenizer, batch_size=1)
    assert [text.ids for (text,) in together] == [text.ids for (text,) in alone]
    ids = list(PROMPTS[0])
    with torch.inference_mode():
        for _ in range(NEW):
            hidden = model.encode({"src": torch.tensor([ids])}).hidden[:, -1]
            ids.append(int(model.target.lm.logits(hidden).argmax()))
    assert ids[len(PROMPTS[0]) :] == together[0][0].ids


@pytest.mark.parametrize(("beams", "penalty"), [(2, 1.0), (4, 0.0), (4, 2.5), (3, -1.0)])
def test_beams_are_theirs(gpt2, model, tokenizer, beams, penalty):
    stop = 100  # a token that ends texts somewhere on the way
    tokens = tokenizer.vocab.tokens
    prompts = PROMPTS[:2]
    texts = generate(
        model, tokenizer, prompts, new=64, beam_size=beams, samples_num=2, length_penalty=penalty,
        stop=(tokens[stop],),
    )  # fmt: skip
    for prompt, found in zip(prompts, texts):
        out = reference(
            gpt2, prompt, new=64, num_beams=beams, num_return_sequences=2, length_penalty=penalty,
            eos_token_id=stop, return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        for text, ids, score in zip(found, out.sequences, out.sequences_scores):
            assert text.ids == new_ids([ids], prompt, stop)
            assert text.score == pytest.approx(float(score), rel=1e-4)


def test_beams_with_rules_are_theirs(gpt2, model, tokenizer):
    settings = {"no_repeat_ngram_size": 2, "repetition_penalty": 1.2}
    texts = generate(model, tokenizer, PROMPTS[1:3], beam_size=3, **settings)
    for prompt, (text,) in zip(PROMPTS[1:3], texts):
        ids = new_ids(reference(gpt2, prompt, num_beams=3, **settings), prompt)
        assert text.ids == ids and len(set(ids)) >= 20


def test_shortest_length_is_theirs(gpt2, model, tokenizer):
    prompt = PROMPTS[0]
    free = generate(model, tokenizer, [prompt])[0][0].ids
    first = free[3]  # ends the text after three tokens, unless forbidden
    word = (tokenizer.vocab.tokens[first],)
    assert generate(model, tokenizer, [prompt], stop=word)[0][0].ids == free[: free.index(first)]
    # A special token as a stop is forbidden before the shortest length, as theirs.
    for end in (3, 2):
        (text,) = generate(
            model, tokenizer, [prompt], stop=(tokenizer.vocab.tokens[end],), min_new_tokens=30
        )[0]
        assert text.ids == new_ids(reference(gpt2, prompt, eos_token_id=end, min_new_tokens=30), prompt, end)


def test_texts_end_at_their_own_lengths(model, tokenizer):
    options = DecodingOptions(top_k=1)
    generator = Generator(model, tokenizer, options, length=40)
    texts = list(generator([*PROMPTS, *PROMPTS]))
    whole = generate(model, tokenizer)
    for prompt, (text,), (longer,) in zip([*PROMPTS, *PROMPTS], texts, [*whole, *whole]):
        assert text.ids == longer.ids[: 40 - len(prompt)]
        assert not text.stopped and text.log_probs is None


def test_rows_that_end_early_leave_the_others_alone(model, tokenizer):
    whole = [text.ids for (text,) in generate(model, tokenizer)]
    stop = tuple(tokenizer.vocab.tokens[whole[row][place]] for row, place in ((0, 5), (1, 9)))
    for (text,), ids in zip(generate(model, tokenizer, stop=stop), whole):
        ends = [ids.index(tokenizer.vocab.index[word]) for word in stop if tokenizer.vocab.index[word] in ids]
        assert text.ids == ids[: min(ends, default=len(ids))]
        assert text.stopped == bool(ends)


def test_scores_are_the_models_own(gpt2, model, tokenizer):
    options = DecodingOptions(top_k=5, temperature=0.7, repetition_penalty=1.3, seed=1, max_new_tokens=12)
    generator = Generator(model, tokenizer, options, length=64, log_probs=True)
    for prompt, (text,) in zip(PROMPTS, generator(PROMPTS)):
        with torch.no_grad():
            logits = gpt2(torch.tensor([[*prompt, *text.ids]])).logits[0].double().log_softmax(-1)
        expected = [float(logits[len(prompt) + k - 1, token]) for k, token in enumerate(text.ids)]
        assert text.log_probs == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 0},
        {"top_k": 30, "top_p": 0.9, "temperature": 1.4, "repetition_penalty": 1.2},
        {"top_k": 0, "min_p": 0.05, "temperature": 0.8, "no_repeat_ngram_size": 2},
    ],
)
@torch.inference_mode()
def test_what_is_drawn_from_is_theirs(gpt2, model, tokenizer, settings):
    """At each of 64 steps of their drawing, the same chance for every token; two prompts at a time."""
    torch.manual_seed(11)
    outs = [
        reference(gpt2, prompt, new=64, do_sample=True, return_dict_in_generate=True, output_scores=True,
                  **settings)
        for prompt in PROMPTS[:2]
    ]  # fmt: skip
    drawn = [out.sequences[0, len(prompt) :] for out, prompt in zip(outs, PROMPTS)]
    assert min(len(set(ids.tolist())) for ids in drawn) >= 20
    options = DecodingOptions(**settings)
    reader = CausalReader(model, PROMPTS[:2], room=80, pad_id=0)
    rules, logits = Rules(options, PROMPTS[:2], vocab_size=oracle.VOCAB), reader.start()
    for step, ids in enumerate(torch.stack(drawn, dim=1)):
        chances, places = candidates(rules.apply(logits), options)
        if places is not None:
            chances = torch.zeros(logits.shape, dtype=torch.float64).scatter_(1, places, chances)
        expected = torch.cat([out.scores[step] for out in outs]).double().softmax(dim=1)
        ours = chances / chances.sum(dim=1, keepdim=True)
        torch.testing.assert_close(ours, expected, atol=2e-5, rtol=1e-3)
        rules.append(ids)
        logits = reader.step(ids)


def test_samples_differ_and_repeat_with_the_seed(model, tokenizer):
    first = generate(model, tokenizer, top_k=0, samples_num=3, seed=5, new=20)
    again = generate(model, tokenizer, top_k=0, samples_num=3, seed=5, new=20, batch_size=1)
    other = generate(model, tokenizer, top_k=0, samples_num=3, seed=6, new=20)
    ids = [[text.ids for text in texts] for texts in first]
    assert ids == [[text.ids for text in texts] for texts in again]  # whatever the batches
    assert ids != [[text.ids for text in texts] for texts in other]
    assert all(len({tuple(x) for x in texts}) == 3 for texts in ids)


def test_only_allowed_tokens_come(model, tokenizer):
    allowed = list(range(10, 40))
    options = DecodingOptions(top_k=0, seed=1, max_new_tokens=50, stop=("[SEP]",))
    (texts,) = Generator(model, tokenizer, options, length=100, allowed=allowed)([[2, 9]])
    assert texts[0].ids and set(texts[0].ids) <= set(allowed)


@pytest.mark.parametrize("beams", [1, 3])
def test_the_best_of_allowed_tokens_is_theirs(gpt2, model, tokenizer, beams):
    allowed = list(range(10, 70, 2))
    options = DecodingOptions(top_k=1, max_new_tokens=NEW, beam_size=beams)
    generator = Generator(model, tokenizer, options, length=oracle.POSITIONS, allowed=allowed)
    for prompt, (text,) in zip(PROMPTS, generator(PROMPTS)):
        out = reference(gpt2, prompt, num_beams=beams, prefix_allowed_tokens_fn=lambda *_: allowed)
        assert text.ids == new_ids(out, prompt) and len(set(text.ids)) >= 8


def test_a_stop_string_ends_where_theirs_does(gpt2, model, tokenizer):
    import tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {word: number for number, word in enumerate(tokenizer.vocab.tokens)}
    words["abcdef"] = len(words)  # theirs looks at each token behind this word
    cut = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    cut.pre_tokenizer = tokenizers.pre_tokenizers.Split(tokenizers.Regex("abcdef|."), "isolated")
    cut.decoder = tokenizers.decoders.Fuse()
    their_tokenizer = PreTrainedTokenizerFast(tokenizer_object=cut, unk_token="[UNK]")
    for prompt, (free,) in zip(PROMPTS, generate(model, tokenizer)):
        stop = tokenizer.decode(free.ids[30:32])  # two tokens
        (text,) = generate(model, tokenizer, [prompt], stop=(stop,))[0]
        ids = new_ids(reference(gpt2, prompt, stop_strings=[stop], tokenizer=their_tokenizer), prompt)
        assert text.stopped and text.ids == ids[:-2] and tokenizer.decode(ids[-2:]) == stop
        assert text.text + stop == tokenizer.decode(ids)


def test_rules_that_leave_no_token(model, tokenizer):
    for beams in (1, 2):
        options = DecodingOptions(top_k=1, no_repeat_ngram_size=1, beam_size=beams)
        generator = Generator(model, tokenizer, options, length=100, allowed=[10, 11, 12])
        with pytest.raises(
            ConfigError, match="after 3 tokens --no_repeat_ngram_size and --allowed_tokens_path"
        ):
            list(generator([[2, 9]]))


@pytest.mark.parametrize("batch_size", [1, 64])
def test_a_text_that_has_ended_needs_no_token(model, tokenizer, batch_size):
    """The first prompt holds nine of the eleven tokens and has room for the other two."""
    prompts = [[2, *range(10, 19), 5], [2, 5], [2, 6]]
    options = DecodingOptions(top_k=1, no_repeat_ngram_size=1)
    generator = Generator(
        model, tokenizer, options, length=13, batch_size=batch_size, allowed=list(range(10, 21))
    )
    texts = [text.ids for (text,) in generator(prompts)]
    assert sorted(texts[0]) == [19, 20]
    assert [sorted(ids) for ids in texts[1:]] == [list(range(10, 21))] * 2


def test_a_beam_without_a_token_is_left(gpt2, model, tokenizer):
    """The others go on, as theirs; theirs fills the one that has no token with -1."""
    prompt, allowed, settings = [2, 10], [10, 11], {"no_repeat_ngram_size": 2}
    out = reference(
        gpt2, prompt, new=4, num_beams=3, num_return_sequences=3, **settings,
        prefix_allowed_tokens_fn=lambda *_: allowed,
    )  # fmt: skip
    expected = [ids for ids in (new_ids([row], prompt) for row in out) if -1 not in ids]
    options = DecodingOptions(top_k=1, max_new_tokens=4, beam_size=3, samples_num=3, **settings)
    (texts,) = Generator(model, tokenizer, options, length=100, allowed=allowed)([prompt])
    assert [text.ids for text in texts] == expected and len(expected) == 2


def test_more_tokens_than_positions(model, tokenizer):
    with pytest.raises(ConfigError, match=r"--seq_length is 193, but the model has 192 positions"):
        Generator(model, tokenizer, DecodingOptions(), length=193)


def test_shown_text_grows_token_by_token(model, tokenizer):
    options = DecodingOptions(top_k=1, max_new_tokens=9)
    generator = Generator(model, tokenizer, options, length=100)
    seen: list[list[int]] = []
    shown = list(generator.shown(PROMPTS[:2], lambda text: seen.append(list(text.ids))))
    assert shown == generate(model, tokenizer, PROMPTS[:2], new=9)
    assert [len(ids) for ids in seen] == [*range(1, 10), *range(1, 10)]
    assert seen[8] == shown[0][0].ids


@pytest.mark.parametrize("name", ["beam_size", "samples_num"])
def test_one_text_is_shown_at_a_time(model, tokenizer, name):
    generator = Generator(model, tokenizer, DecodingOptions(**{name: 2}), length=100)
    with pytest.raises(ConfigError, match=f"--stream shows one text as it grows, --{name} 2"):
        list(generator.shown(PROMPTS, print))
