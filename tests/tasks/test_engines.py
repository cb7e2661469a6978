"""Downstream scripts under engines that cut tensors: attacks, adapters, and UER's scripts for DeepSpeed."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest

from tests.tasks.scripts import script
from tests.training.engine_runs import losses, same, two_workers
from uer.checkpoints import read_state
from uer.cli import run

WORDS = [chr(code) for code in range(0x4E00, 0x4E30)]
SIZES = {
    **{"emb_size": 16, "hidden_size": 16, "feedforward_size": 32, "heads_num": 2, "layers_num": 2},
    **{"max_seq_length": 64, "hidden_act": "gelu", "dropout": 0.0, "encoder": "transformer"},
}
CONFIGS = {
    "bert": {"embedding": ["word", "pos", "seg"], "mask": "fully_visible", "target": ["mlm"]},
    "lm": {"embedding": ["word", "pos"], "mask": "causal", "target": ["lm"]},
    "mt": {
        **{"embedding": ["word", "pos"], "tgt_embedding": ["word", "pos"], "mask": "fully_visible"},
        **{"decoder": "transformer", "target": ["lm"], "data_processor": "mt"},
    },
}
ENGINES = {
    "fsdp": ("--engine", "fsdp"),
    **{f"zero{stage}": ("--deepspeed", "--deepspeed_config", f"zero{stage}.json") for stage in (1, 2, 3)},
}
LORA = ("--peft", "lora", "--lora_targets", "query", "value", "feed_forward", "--pretrained_model_path")
CASES = {
    "fgm": ("--use_adv", "--adv_type", "fgm", "--fgm_epsilon", "0.5"),
    "pgd": ("--use_adv", "--adv_type", "pgd", "--pgd_epsilon", "0.5", "--accumulation_steps", "2"),
    "lora": (*LORA, "base.bin"),
    # Pieces of few tokens and of many; a last batch of one row, of which the second worker has none.
    "pieces": ("--micro_batches", "3", "--batch_size", "9", "--adam_bias_correction"),
}
TAGS = ("--crf_target", *(f"--{part}_path=tags.tsv" for part in ("train", "dev", "test")))
HEADS = ("--adam_bias_correction", "--accumulation_steps", "2")
# Batches of 9 of 37 rows: shares of two sizes, and at last one row, none of it the second worker's.
COMPARED = ("--dev_path", "sts.tsv", "--test_path", "sts.tsv", "--batch_size", "9", "--pooling", "mean")
VECTORS = {
    "texts": (*COMPARED, "--train_path", "texts.tsv", "--epochs_num", "2"),
    "pairs": (*COMPARED, "--train_path", "sts.tsv", "--accumulation_steps", "2"),
}


def tune(output: str, *more: str) -> list[str]:
    """Flags of run_classifier.py; `more` may say it again, for argparse takes the last word."""
    files = ("--train_path", "train.tsv", "--dev_path", "dev.tsv", "--test_path", "dev.tsv")
    start = () if "--pretrained_model_path" in more else ("--vocab_path", "vocab.txt", "--config_path")
    return [
        *files,
        *(start and (*start, "bert.json")),
        *("--output_model_path", output, "--epochs_num", "1", "--batch_size", "8", "--seq_length", "16"),
        *("--learning_rate", "0.003", "--report_steps", "2", "--precision", "fp32", *more),
    ]


def pretrain(kind: str, output: str, batch_size: int, *more: str) -> list[str]:
    return [
        *("--dataset_path", f"{kind}.pt", "--vocab_path", "vocab.txt", "--config_path", f"{kind}.json"),
        *("--output_model_path", output, "--total_steps", "4", "--batch_size", str(batch_size)),
        *("--save_checkpoint_steps", "4", "--learning_rate", "0.01", "--precision", "fp32"),
        *(("--tgt_vocab_path", "vocab.txt") if kind == "mt" else ()),
        *("--backend", "gloo", *more),
    ]


def predict(kind: str, model: str, out: str) -> list[str]:
    words = ["--load_model_path", model, "--prediction_path", out]
    if kind == "classifier":
        return [*words, "--test_path", "dev.tsv", "--output_logits"]
    lengths = ["--seq_length", "16", *(["--tgt_seq_length", "8"] if kind == "mt" else [])]
    return [*words, "--test_path", "prompts.txt", "--top_k", "1", *lengths]


def files() -> None:
    draw = random.Random(1)
    text = lambda: "".join(draw.choices(WORDS, k=draw.randint(4, 12)))  # noqa: E731
    Path("vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]) + "\n")
    for name, config in CONFIGS.items():
        Path(f"{name}.json").write_text(json.dumps({**SIZES, **config}))
    for stage in (1, 2, 3):
        zero = {"stage": stage, **({"offload_optimizer": {"device": "cpu"}} if stage == 2 else {})}
        zero |= {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
        Path(f"zero{stage}.json").write_text(json.dumps({"zero_optimization": zero}))
    for name, count in (("train.tsv", 37), ("dev.tsv", 12)):
        rows = [
            f"{int(any(word in row for word in WORDS[:3]))}\t{row}" for row in (text() for _ in range(count))
        ]
        Path(name).write_text("label\ttext_a\n" + "\n".join(rows) + "\n")
    tags = [
        f"{' '.join(draw.choice(['O', 'B-x', 'I-x']) for _ in row)}\t{' '.join(row)}\n"
        for row in (text() for _ in range(37))
    ]
    Path("tags.tsv").write_text("label\ttext_a\n" + "".join(tags))
    Path("texts.tsv").write_text("text_a\n" + "".join(f"{text()}\n" for _ in range(37)))
    pairs = [f"{n % 5}\t{text()}\t{text()}\n" for n in range(37)]
    Path("sts.tsv").write_text("label\ttext_a\ttext_b\n" + "".join(pairs))
    for place in ("a", "b"):
        Path(place).mkdir()
        for name in ("train.tsv", "dev.tsv"):
            shutil.copy(name, place)
    Path("lm.txt").write_text("".join(f"{text()}\n" for _ in range(40)))
    Path("mt.txt").write_text("".join(f"{text()}\t{text()}\n" for _ in range(40)))
    Path("prompts.txt").write_text("".join(f"{text()[:4]}\n" for _ in range(3)))
    for kind in ("lm", "mt"):
        more = ("--tgt_vocab_path", "vocab.txt", "--tgt_seq_length", "16") if kind == "mt" else ()
        argv = ("--corpus_path", f"{kind}.txt", "--vocab_path", "vocab.txt", "--dataset_path", f"{kind}.pt")
        script("preprocess").main([*argv, "--data_processor", kind, "--seq_length", "16", *more])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One process, then two workers: attacks and adapters under each engine, UER's scripts under ZeRO 2."""
    before, path = Path.cwd(), tmp_path_factory.mktemp("engines")
    os.chdir(path)
    try:
        files()
        alone = {"classifier": "finetune/run_classifier", "infer": "inference/run_classifier_infer"}
        assert run(script(alone["classifier"]).main, tune("base.bin")) == 0
        runs = [["finetune/run_classifier_deepspeed.py", *tune("deep.bin", *ENGINES["zero2"][1:])]]
        for name, flags in CASES.items():
            assert run(script(alone["classifier"]).main, tune(f"{name}.bin", *flags)) == 0
            for engine, more in ENGINES.items():
                runs.append(["finetune/run_classifier.py", *tune(f"{name}-{engine}.bin", *flags, *more)])
        for name, more in VECTORS.items():
            assert run(script("finetune/run_simcse").main, tune(f"{name}.bin", *more)) == 0
            for engine in ("ddp", "fsdp", "zero2", "zero3"):
                flags = ENGINES.get(engine, ("--engine", engine))
                runs.append(["finetune/run_simcse.py", *tune(f"{name}-{engine}.bin", *more, *flags)])
        several = tune("heads.bin", "--dataset_path_list", "a", "b", *HEADS)[6:]
        assert run(script("finetune/run_classifier_mt").main, several) == 0
        for engine, more in ENGINES.items():
            words = [f"heads-{engine}.bin" if word == "heads.bin" else word for word in several]
            runs.append(["finetune/run_classifier_mt.py", *words, *more])
        assert run(script("finetune/run_ner").main, tune("tags.bin", *TAGS)) == 0
        for engine, more in ENGINES.items():
            runs.append(["finetune/run_ner.py", *tune(f"tags-{engine}.bin", *TAGS, *more)])
        run(script(alone["infer"]).main, predict("classifier", "base.bin", "base.tsv"))
        runs.append(
            ["inference/run_classifier_deepspeed_infer.py", *predict("classifier", "deep.bin", "deep.tsv")]
        )
        runs[-1] += ["--deepspeed", "--deepspeed_config", "zero2.json"]
        for kind, name in (("lm", "generate_lm"), ("mt", "generate_seq2seq")):
            assert run(script("pretrain").main, pretrain(kind, f"{kind}.bin", 8)) == 0
            run(script(f"scripts/{name}").main, predict(kind, f"{kind}.bin-4", f"{kind}.out"))
            runs.append(["pretrain.py", *pretrain(kind, f"{kind}-deep.bin", 4, *ENGINES["zero2"])])
            words = [
                *predict(kind, f"{kind}-deep.bin-4", f"{kind}-deep.out"),
                "--deepspeed",
                "--mp_size",
                "2",
            ]
            runs.append([f"scripts/{name}_deepspeed.py", *words])
        Path("said.txt").write_text(two_workers(runs))
    finally:
        os.chdir(before)
    return path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("name", CASES)
def test_attacks_and_adapters_under_every_engine(folder, name, engine):
    one, two = folder / f"{name}.bin", folder / f"{name}-{engine}.bin"
    same(read_state(one), read_state(two), 1e-5)
    for key in ("loss", "gradient_norm", "dev_acc"):
        assert losses(one, key) == pytest.approx(losses(two, key), rel=1e-4), key
    same(read_state(one), read_state(folder / "base.bin"), 10)
    assert any(
        (x - read_state(folder / "base.bin")[n]).abs().max() > 1e-3 for n, x in read_state(one).items()
    )


@pytest.mark.parametrize("engine", ["ddp", "fsdp", "zero2", "zero3"])
@pytest.mark.parametrize("name", VECTORS)
def test_rows_are_compared_with_those_of_all_workers(folder, name, engine):
    one, two = folder / f"{name}.bin", folder / f"{name}-{engine}.bin"
    same(read_state(one), read_state(two), 1e-5)
    for key in ("loss", "gradient_norm", "dev_spearman"):  # fp32 sums of numbers near 1, even of a small loss
        assert losses(two, key) == pytest.approx(losses(one, key), rel=1e-5, abs=1e-7), key
    assert len(losses(one)) >= 2 and losses(one, "gradient_norm")[0] > 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_tags_that_are_scored_as_sequences(folder, engine):
    """Also on the test file, when the best weights were read again."""
    one, two = folder / "tags.bin", folder / f"tags-{engine}.bin"
    same(read_state(one), read_state(two), 1e-5)
    assert losses(two) == pytest.approx(losses(one), rel=1e-5, abs=1e-7)
    tested = [json.loads((Path(f"{file}.run") / "results.json").read_text())["Test"] for file in (one, two)]
    assert tested[0] == tested[1]


@pytest.mark.parametrize("engine", ENGINES)
def test_heads_that_a_batch_does_not_use_stay_as_they_are(folder, engine):
    """Weights, running means and counted steps of a head are touched by its own batches alone."""
    one, two = folder / "heads.bin", folder / f"heads-{engine}.bin"
    same(read_state(one), read_state(two), 1e-5)
    for key in ("loss", "gradient_norm", "dev_acc"):
        assert losses(two, key) == pytest.approx(losses(one, key), rel=1e-5), key
    if engine == "zero2":
        said = "zero2.json: offload_optimizer has no effect here, for this model does not use all weights in"
        assert said in (folder / "said.txt").read_text()


def test_adapters_of_sharded_models_are_saved(folder):
    one, *others = (
        read_state(folder / f"{name}.bin.adapter" / "adapter_model.safetensors")
        for name in ("lora", *(f"lora-{engine}" for engine in ENGINES))
    )
    for other in others:
        same(one, other, 1e-5)


def numbers(file: Path) -> tuple[list[str], list[float]]:
    """Labels and logits of a file of predictions."""
    rows = [line.split("\t") for line in file.read_text().splitlines()[1:]]
    return [row[0] for row in rows], [float(x) for row in rows for x in row[1].split()]


def test_the_classifier_of_deepspeed_and_its_predictions(folder):
    same(read_state(folder / "base.bin"), read_state(folder / "deep.bin"), 1e-5)
    assert losses(folder / "deep.bin") == pytest.approx(losses(folder / "base.bin"), rel=1e-4)
    labels, logits = numbers(folder / "base.tsv")
    assert len(labels) == 12 and numbers(folder / "deep.tsv") == (labels, pytest.approx(logits, abs=2e-4))
    said = (folder / "said.txt").read_text()
    assert said.count("--deepspeed is accepted for old command lines and has no effect") == 3


@pytest.mark.parametrize("kind", ["lm", "mt"])
def test_texts_generated_by_models_of_deepspeed(folder, kind):
    same(read_state(folder / f"{kind}.bin-4"), read_state(folder / f"{kind}-deep.bin-4"), 1e-5)
    text = (folder / f"{kind}.out").read_text()
    assert len(text) > 20 and (folder / f"{kind}-deep.out").read_text() == text
