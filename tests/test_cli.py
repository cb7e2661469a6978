"""The frame of every script: precedence, both dialects, suggestions, exit codes."""

import json
import os
import re
import subprocess
import sys

import pytest
import torch

from uer.cli import ENVIRONMENT, GARBAGE_AFTER, OLD_CONFIGS, Command, resolve_config_path, run
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.errors import ConfigError, DataError
from uer.opts.compat import COMPATIBILITY
from uer.utils.files import repository_root

TINY = str(repository_root() / "models" / "bert" / "tiny_config.json")


def command(**settings):
    settings = {"model": "new", "compat": ("docs_buffer_size", "fp16_opt_level"), **settings}
    return Command("script.py", "A script.", ModelConfig, TokenizerOptions, **settings)


def model(*argv, config=TINY):
    return command().parse(["--config_path", config, *argv])[ModelConfig]


def test_command_line_beats_json_beats_default():
    assert model().hidden_size == 128  # JSON over the default 768
    assert model().dropout == 0.1
    assert model("--dropout", "0.3").dropout == 0.3
    assert model("--dropout=0.3").dropout == 0.3
    assert model("--drop", "0.3").dropout == 0.3  # an abbreviation is a typed flag too
    assert command().parse([])[ModelConfig].hidden_size == 768  # BERT base without a config


def test_typing_a_default_still_beats_json(tmp_path):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"dropout": 0.5}))
    assert model("--dropout", "0.1", config=str(config)).dropout == 0.1


def test_both_generations_of_embedding_are_one():
    assert model("--embedding", "word_pos").embedding == ("word", "pos")
    assert model("--embedding", "word", "pos").embedding == ("word", "pos")
    assert model("--embedding", "word_sinusoidalpos").embedding == ("word", "sinusoidalpos")


@pytest.mark.parametrize(
    ("words", "processor", "targets", "decoder"),
    [
        (["bert"], "bert", ("mlm", "sp"), None),
        (["mlm"], "mlm", ("mlm",), None),
        (["albert"], "albert", ("mlm", "sp"), None),
        (["t5"], "t5", ("lm",), "transformer"),
        (["seq2seq"], "mt", ("lm",), "transformer"),
        (["prefixlm"], "prefixlm", ("lm",), None),
    ],
)
def test_an_objective_of_2021_decides_processor_targets_and_decoder(words, processor, targets, decoder):
    chosen = command().parse(["--config_path", TINY, "--target", *words])
    assert (chosen.data_processor, chosen[ModelConfig].target) == (processor, targets)
    assert chosen[ModelConfig].decoder == decoder
    assert chosen.objective_2021 == words[0]


def test_targets_of_2024_leave_the_processor_to_the_config():
    chosen = command().parse(["--config_path", TINY, "--target", "mlm", "sp"])
    assert (chosen.data_processor, chosen[ModelConfig].target) == ("bert", ("mlm", "sp"))
    assert chosen.objective_2021 is None


def test_a_2021_json_config_is_read(tmp_path):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"target": "bert", "embedding": "word_pos_seg", "hidden_size": 768}))
    chosen = command().parse(["--config_path", str(config)])
    assert chosen.data_processor == "bert"
    assert chosen[ModelConfig].embedding == ("word", "pos", "seg")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--embeding", "word"], r"unknown flag '--embeding'\. Did you mean '--embedding'\?"),
        (["word"], "unexpected word 'word'"),
        (["--embedding", "word_pox"], r"--embedding has the part 'pox'; .*Did you mean 'pos'\?"),
        (["--target", "bert", "mlm"], "'bert' is an objective of 2021 and stands alone"),
        (["--target", "mln"], r"--target is 'mln'; .*Did you mean 'mlm'\?"),
        (["--dropout", "a"], "argument --dropout: invalid float value: 'a'"),
        (["--do_lower_case", "maybe"], "'maybe' is neither true nor false"),
        (["--layernorm"], "expected one argument"),
    ],
)
def test_mistyped_flags_teach(argv, message):
    with pytest.raises(ConfigError, match=message):
        model(*argv)


def test_mistyped_json_keys_teach(tmp_path):
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"hiden_size": 128}))
    with pytest.raises(
        ConfigError, match=r"c\.json: the key 'hiden_size' is unknown\. Did you mean 'hidden_size'\?"
    ):
        model(config=str(config))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', r"c\.json:2: is not valid JSON: .* at column"),
        (b"[1]", "holds a list; a config is a JSON object"),
        (b'{"a": "\xff"}', r"is not UTF-8 \(byte 7\)"),
    ],
)
def test_broken_json_names_the_place(tmp_path, content, message):
    config = tmp_path / "c.json"
    config.write_bytes(content)
    with pytest.raises(DataError, match=message):
        model(config=str(config))


def test_a_missing_config_suggests_its_neighbour(tmp_path):
    (tmp_path / "tiny_config.json").write_text("{}")
    with pytest.raises(DataError, match=r"does not exist; .*Did you mean '.*tiny_config\.json'\?"):
        model(config=str(tmp_path / "tiny_confg.json"))


@pytest.mark.parametrize("old", sorted(OLD_CONFIGS))
def test_older_flat_names_resolve_with_a_line(old):
    path, note = resolve_config_path(str(repository_root() / "models" / old))
    assert path.is_file()
    assert "older name" in note


def test_every_shipped_config_is_valid():
    files = sorted((repository_root() / "models").glob("*/*_config.json"))
    assert len(files) > 35
    for file in files:
        chosen = command().parse(["--config_path", str(file)])
        assert chosen[ModelConfig].hidden_size > 0
        assert chosen.data_processor or "dual" in chosen[ModelConfig].embedding


def test_compatibility_flags_say_that_they_change_nothing():
    chosen = command().parse(["--config_path", TINY, "--docs_buffer_size", "5"])
    assert any("--docs_buffer_size" in note and "no effect" in note for note in chosen.notes)
    assert all(reason for _, reason in COMPATIBILITY.values())


def test_print_config_prints_and_stops(capsys):
    with pytest.raises(SystemExit) as stop:
        model("--dropout", "0.3", "--print_config")
    assert stop.value.code == 0
    assert json.loads(capsys.readouterr().out)["dropout"] == 0.3


def test_exit_codes_and_one_line_messages(capsys):
    def user_error(argv):
        raise DataError("has two columns.", path="a.tsv", line=3)

    def interrupted(argv):
        raise KeyboardInterrupt

    assert run(user_error, []) == 2
    assert capsys.readouterr().err == "error: a.tsv:3: has two columns.\n"
    assert run(interrupted, []) == 130
    assert run(lambda argv: None, []) == 0
    with pytest.raises(ZeroDivisionError):  # a fault of ours keeps its traceback
        run(lambda argv: 1 // 0, [])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (MemoryError(), ""),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore"),
            " (CUDA out of memory.",
        ),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
            " ([enforce fail]",
        ),
    ],
)
def test_memory_that_runs_out_is_one_line(capsys, fault, said):
    def main(argv):
        raise fault

    assert run(main, []) == 2
    line = "error: memory ran out; a smaller --batch_size, shorter texts or a smaller model take less"
    found = capsys.readouterr().err
    assert found.startswith(line + said) and found.count("\n") == 1


def test_another_fault_of_ours_is_not_hidden():
    def main(argv):
        raise RuntimeError("a bug")

    with pytest.raises(RuntimeError, match="a bug"):
        run(main, [])


def test_words_without_a_flag_are_kept_apart():
    several = Command("show.py", "Shows.", words=("FILE", "+", "files to show"))
    assert several.parse(["a", "b"]).words == ["a", "b"]
    with pytest.raises(ConfigError, match="the following arguments are required: FILE"):
        several.parse([])
    assert Command("show.py", "Shows.", words=("FILE", None, "a file")).parse(["a"]).words == ["a"]


def test_a_failed_write_is_one_line(tmp_path, capsys):
    assert run(lambda argv: (tmp_path / "no" / "file").write_text("x"), []) == 2
    assert "could not be written" in capsys.readouterr().err


def printing(**standard) -> subprocess.CompletedProcess:
    """A script of its own that writes line after line."""
    program = """import sys
from uer.cli import run
def main(argv):
    for number in range(20000):
        print(number, flush=True)
sys.exit(run(main))"""
    command = [sys.executable, "-c", program]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=repository_root(), **standard)


def test_a_reader_that_has_gone_away_ends_the_script_without_a_word():
    ours, theirs = os.pipe()
    os.close(ours)
    ended = printing(stdout=theirs)
    os.close(theirs)
    assert (ended.returncode, ended.stderr) == (141, "")


def test_standard_output_on_a_full_disk_is_one_line():
    with open("/dev/full", "w") as full:
        ended = printing(stdout=full)
    assert ended.returncode == 2
    assert re.fullmatch("error: standard output: the disk is full; free some room .*\n", ended.stderr)


def test_starting_opens_the_log_and_says_what_is_to_be_said(tmp_path):
    log = tmp_path / "run.log"
    words = ["--config_path", TINY, "--docs_buffer_size", "7", "--log_path", str(log)]
    assert command().start(words)[ModelConfig].hidden_size == 128
    assert "--docs_buffer_size" in log.read_text(encoding="utf-8")


def test_imports_are_not_searched_for_garbage():
    import gc

    before = gc.get_threshold()
    try:
        assert run(lambda argv: None, []) == 0
        assert gc.get_threshold() == (GARBAGE_AFTER, *before[1:])
    finally:
        gc.set_threshold(*before)


def test_large_tensors_get_large_pages_unless_the_user_says_otherwise(monkeypatch):
    (name,) = ENVIRONMENT
    seen = []
    for typed in (None, "0"):
        monkeypatch.delenv(name, raising=False)
        if typed is not None:
            monkeypatch.setenv(name, typed)
        run(lambda _: seen.append(os.environ[name]), [])
    monkeypatch.delenv(name)
    assert seen == ["1", "0"]
