"""Names of UER-py 2019 and 2020 and of TencentPretrain: read as ours, or refused with what to type."""

import json

import pytest

from uer.cli import Command
from uer.config.finetune import RunOptions
from uer.config.generation import GenerationFiles
from uer.config.model import ModelConfig
from uer.config.preprocess import InstanceOptions
from uer.config.tokenizer import TokenizerOptions
from uer.config.training import PretrainOptions, TrainOptions
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_TRAINING


@pytest.fixture(scope="module")
def command() -> Command:
    """Flags of several scripts."""
    groups = (RunOptions, TrainOptions, ModelConfig, TokenizerOptions)
    return Command("finetune/run_x.py", "", *groups, compat=DEEPSPEED_TRAINING, model="new")


def test_flags_that_mean_the_same(command):
    typed = "--use_lora --lora_r 4 --lora_alpha 8 --deepspeed_checkpoint_activations"
    chosen = command.parse(typed.split())
    run = chosen[RunOptions]
    assert (run.peft, run.lora_rank, run.lora_alpha) == ("lora", 4, 8.0)
    assert chosen[TrainOptions].gradient_checkpointing
    assert "lora_r" not in chosen.written and not chosen.notes
    assert "--use_lora" not in command.parser.format_help()


def test_values_that_mean_the_same(command, tmp_path):
    assert command.parse(["--layernorm", "rms"])[ModelConfig].layernorm == "t5"
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"layernorm": "rms", "encoder": "gcnn", "layernorm_eps": 1e-5}))
    config = command.parse(["--config_path", str(path)])[ModelConfig]
    assert (config.layernorm, config.encoder, config.layernorm_eps) == ("t5", "gatedcnn", 1e-5)
    typed = command.parse(["--config_path", str(path), "--layernorm_eps", "1e-4"])[ModelConfig]
    assert typed.layernorm_eps == 1e-4


def test_what_launchers_add_is_said_to_have_no_effect(command):
    words = "--enable_zero3 --global_rank 0 --deepspeed_checkpoint_layers_num 1"
    notes = command.parse(words.split()).notes
    assert len(notes) == 3 and all("has no effect" in note for note in notes)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("--encoder bert", "--embedding word_pos_seg --encoder transformer --mask fully_visible"),
        ("--encoder gpt2", "--encoder transformer --mask causal --layernorm_positioning pre"),
        ("--encoder synt", "that encoder of 2019 is gone"),
        ("--embedding bert", "--embedding word_pos_seg"),
        ("--embedding word_sinusoidal", "--embedding word_sinusoidalpos"),
        ("--tgt_embedding word_sinusoidal", "--tgt_embedding is 'word_sinusoidal'"),
        ("--embedding patch pos", "reads text"),
        ("--target nsp", "--data_processor bert --target mlm sp"),
        ("--target s2s", "--data_processor mt"),
        ("--tokenizer hfpretrained", "by --vocab_path"),
        ("--tokenizer text_image", "reads text"),
        ("--subword_type char", "words are not read as sequences of characters"),
        ("--mean_reciprocal_rank", "finetune/run_dbqa.py"),
        ("--hidden_size 128", "JSON config"),
        ("--lora_pretrained_model_path a.bin", "scripts/merge_lora.py"),
        ("--rotary_position_embedding", "LLaMA"),
        ("--tensor_model_parallel_size 4", "--engine fsdp"),
        ("--image_height 224", "reads text"),
        ("--resume_from_checkpoint x", "it is --resume now"),
    ],
)
def test_what_we_lack_is_refused_with_what_to_type(command, typed, said):
    with pytest.raises(ConfigError) as error:
        command.parse(typed.split())
    assert said in str(error.value) and "\n" not in str(error.value)
    assert typed.split()[0] in str(error.value)


def test_every_unknown_flag_is_told_at_once():
    command = Command("scripts/cloze_test.py", "", GenerationFiles)
    words = "--input_path a --pretrained_model_path b --output_path c --wrod d"
    with pytest.raises(ConfigError) as error:
        command.parse(words.split())
    text = str(error.value)
    for flag, new in (("input", "test"), ("pretrained_model", "load_model"), ("output", "prediction")):
        assert f"'--{flag}_path': it is --{new}_path now." in text
    assert "'--wrod'." in text


def test_adapters_where_nothing_has_them():
    command = Command("pretrain.py", "", PretrainOptions)
    with pytest.raises(ConfigError, match="'--use_lora', '--lora_dropout': low-rank adapters"):
        command.parse(["--output_model_path", "x", "--use_lora", "--lora_dropout", "0.1"])


@pytest.mark.parametrize("name", ["vit", "clip", "llm_pretrain", "llm_sft"])
def test_data_processors_of_tencentpretrain(name):
    with pytest.raises(ConfigError, match=f"--data_processor is '{name}': .*(reads text|--data_processor)"):
        Command("preprocess.py", "", InstanceOptions).parse(["--data_processor", name])


def test_a_config_of_a_llama(command, tmp_path):
    path = tmp_path / "llama.json"
    path.write_text(json.dumps({"hidden_size": 64, "rotary_position_embedding": True}))
    with pytest.raises(ConfigError, match=r"'rotary_position_embedding' is unknown: positions .* LLaMA"):
        command.parse(["--config_path", str(path)])


def test_a_config_of_hugging_face(command, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"architectures": ["BertModel"], "hidden_size": 64, "model_type": "bert"}))
    with pytest.raises(ConfigError, match="is the config of a Hugging Face model; give the folder"):
        command.parse(["--config_path", str(path)])
