"""Option dataclasses: types, choices, checks, and messages that name the flag."""

from dataclasses import dataclass

import pytest

from uer.config.model import ModelConfig
from uer.config.options import Options, fraction, option, positive
from uer.config.tokenizer import TargetTokenizerOptions, TokenizerOptions
from uer.errors import ConfigError


@dataclass(frozen=True)
class Sample(Options):
    """A sample."""

    rate: float = fraction(0.1, "a rate")
    steps: int | None = positive(None, "steps")
    words: tuple[str, ...] = option(("a",), "words", choices=("a", "b"))
    lower: bool = option(True, "true or false")


def test_values_are_coerced_where_nothing_is_lost():
    sample = Sample(rate=1, words=["b"], lower="false")
    assert (sample.rate, sample.words, sample.lower) == (1.0, ("b",), False)
    assert isinstance(sample.rate, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 2.0}, r"--rate is 2\.0; it must be a number from 0 to 1"),
        ({"steps": 0}, r"--steps is 0; it must be a number greater than 0"),
        ({"steps": "7"}, r"--steps is '7' \(str\); it must be of type int"),
        ({"steps": True}, r"--steps is True \(bool\); it must be of type int"),
        ({"words": ("a", "c")}, r"--words is 'c'; choose from a, b"),
    ],
)
def test_a_bad_value_names_the_flag(values, message):
    with pytest.raises(ConfigError, match=message):
        Sample(**values)


def test_an_unknown_key_is_an_error_with_a_suggestion():
    with pytest.raises(ConfigError, match=r"x\.json: the key 'stepz' is unknown\. Did you mean 'steps'\?"):
        Sample.from_json({"stepz": 3}, "x.json")


def test_model_config_survives_json():
    config = ModelConfig(embedding=("word", "pos"), target=("lm",), mask="causal")
    assert ModelConfig.from_json(config.to_dict(), "config.json") == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"embedding": ("word", "word")}, "--embedding names a part twice"),
        ({"embedding": ("pos",)}, "the part 'word' is needed"),
        ({"embedding": ("dual", "word"), "encoder": "dual"}, "--embedding dual stands alone"),
        ({"embedding": ("dual",)}, "--embedding dual and --encoder dual belong together"),
        (
            {"embedding": ("dual",), "encoder": "dual"},
            "--embedding dual needs the keys stream_0 and stream_1",
        ),
        (
            {"embedding": ("word", "sinusoidalpos"), "emb_size": 3, "hidden_size": 3, "heads_num": 1},
            "--embedding sinusoidalpos needs an even one",
        ),
        (
            {"hidden_size": 100, "emb_size": 100, "heads_num": 3},
            "hidden_size 100 is no multiple of heads_num 3",
        ),
        ({"emb_size": 64}, "add --factorized_embedding_parameterization"),
        (
            {"factorized_embedding_parameterization": True, "decoder": "transformer"},
            "--factorized_embedding_parameterization does not go with --decoder",
        ),
        ({"bidirectional": True}, "--bidirectional is for --encoder rnn, lstm or gru, not transformer"),
        ({"bidirectional": True, "encoder": "bilstm"}, "this encoder reads both ways already"),
        ({"encoder": "bilstm", "hidden_size": 33}, "a bidirectional encoder needs an even one"),
        ({"encoder": "lstm", "target": ("bilm",), "hidden_size": 33}, "--target bilm needs an even one"),
        (
            {"encoder": "lstm", "relative_position_embedding": True},
            "--relative_position_embedding needs --encoder transformer, not lstm",
        ),
        ({"target": ("mlm", "mlm")}, "--target names a target twice"),
        ({"share_embedding": True}, "--share_embedding needs --decoder"),
    ],
)
def test_senseless_combinations_name_the_flags(values, message):
    with pytest.raises(ConfigError, match=message):
        ModelConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"target": ("rtd",), "generator": "small"},
        {"target": ("mlm", "soft"), "teacher": [4]},
        {"target": ("mlm", "students"), "students": (3,)},
        {"embedding": ("dual",), "encoder": "dual", "stream_0": "x", "stream_1": {}},
    ],
)
def test_models_beside_the_model_are_objects(values):
    with pytest.raises(ConfigError, match=r"^\w+ is .*; it must be a JSON object of keys and values\.$"):
        ModelConfig(**values)


def test_a_stream_lays_its_settings_over_the_common_ones():
    config = ModelConfig(
        embedding=("dual",),
        encoder="dual",
        dropout=0.3,
        stream_0={"encoder": "lstm", "embedding": ["word"]},
        stream_1={"encoder": "transformer", "embedding": ["word", "pos"]},
    )
    assert (config.stream(0).encoder, config.stream(0).dropout) == ("lstm", 0.3)
    assert config.stream(1).embedding == ("word", "pos")


def test_tokenizer_files_must_fit_the_tokenizer():
    with pytest.raises(ConfigError, match="--merges_path needs --tokenizer bpe, not bert"):
        TokenizerOptions(merges_path="merges.txt")
    with pytest.raises(ConfigError, match="--vocab_path and --spm_model_path are both given"):
        TokenizerOptions(vocab_path="a", spm_model_path="b")


def test_the_target_tokenizer_has_the_same_form():
    target = TargetTokenizerOptions(tgt_tokenizer="char", tgt_vocab_path="v.txt", tgt_do_lower_case=False)
    assert target.source_form() == TokenizerOptions(tokenizer="char", vocab_path="v.txt", do_lower_case=False)
