"""The flags that all fine-tuning scripts share, and those that all their inference twins share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from uer.cli import Chosen, Command
from uer.config.finetune import (
    ClassifierOptions,
    CrossValidationOptions,
    FinetuneOptions,
    GridOptions,
    RunOptions,
    SingleTextOptions,
    fold_path,
)
from uer.config.inference import InferenceOptions, LongRowOptions, PredictorOptions
from uer.config.model import ModelConfig
from uer.config.options import Options
from uer.config.tokenizer import TokenizerOptions
from uer.config.training import AdversarialOptions, DistributedOptions, OptimizerOptions, TrainOptions
from uer.errors import ConfigError
from uer.opts.compat import DEEPSPEED_TRAINING
from uer.opts.saved import saved_model_command
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.files import repository_root
from uer.utils.seed import set_seed

if TYPE_CHECKING:
    from torch import nn

    from uer.tasks.finetune import Finetuning, Task
    from uer.tasks.predict import Predictor
    from uer.tokenizers.base import Tokenizer


ONE_MODEL = ("world_size", "engine", "deepspeed", "resume", "save_checkpoint_steps")
"""flags of runs that train one model"""
FOLD_BY_FOLD = ("resume", "save_checkpoint_steps")
"""of these, what cross validation does with each of its models"""


class TrainingCommand(Command):
    """`--world_size` starts as many workers with the same command line, and the command ends with them; so do
    several GPUs.
    """

    @property
    def many(self) -> bool:
        """Whether the script trains many models."""
        return bool({CrossValidationOptions, GridOptions} & set(self.groups))

    def parse(self, argv: list[str] | None) -> Chosen:
        """As `Command`.

        Raises:
            SystemExit: also when the workers have ended, with their code.
            ConfigError: a flag for one model is typed where many are trained.
            EnvironmentFault: GPUs are asked for that are not there.
        """
        from uer.training.launch import launch_workers, over_all_gpus

        chosen, words = super().parse(argv), sys.argv[1:] if argv is None else argv
        allowed = FOLD_BY_FOLD if CrossValidationOptions in self.groups else ()
        refused = [name for name in ONE_MODEL if name in chosen.written and name not in allowed]
        if self.many and (typed := next(iter(refused), None)):
            raise ConfigError(
                f"--{typed} is for scripts that train one model, and {self.parser.prog} trains many; "
                "leave it out."
            )
        script, options = repository_root() / self.parser.prog, chosen[DistributedOptions]
        if not self.many and "world_size" not in chosen.written:
            options = over_all_gpus(options)
        if (code := launch_workers(script, words, options)) is not None:
            raise SystemExit(code)
        return chosen

    def start(self, argv: list[str] | None) -> Chosen:
        """As `Command`, and seeds all sources of random numbers."""
        chosen = super().start(argv)
        set_seed(chosen[TrainOptions].seed)
        return chosen


def finetune_command(
    script: str,
    description: str,
    *groups: type[Options],
    files: type[RunOptions] = FinetuneOptions,
    folder: str = "finetune",
) -> Command:
    """The command of `finetune/<script>.py` (or of another folder), with the options that only it has;
    `files`: what it reads."""
    common = (
        *(ModelConfig, TokenizerOptions, OptimizerOptions, TrainOptions),
        *(AdversarialOptions, DistributedOptions),
    )
    return TrainingCommand(
        f"{folder}/{script}.py",
        description,
        files,
        *groups,
        *common,
        compat=("fp16_opt_level", *DEEPSPEED_TRAINING),
        model="new",
    )


def training_options(chosen: Chosen, files: type[RunOptions] = FinetuneOptions) -> dict[str, Any]:
    """The arguments of `uer.tasks.finetune.Finetuning` that the command line gives."""
    return {
        "options": chosen[files],
        "training": chosen[TrainOptions],
        "optimization": chosen[OptimizerOptions],
        "adversarial": chosen[AdversarialOptions],
        "distribution": chosen[DistributedOptions],
        "settings": chosen.effective(),
    }


def prepared(
    chosen: Chosen,
    task: Task,
    build: Callable[[ModelConfig, int], nn.Module],
    *,
    head: Iterable[str] = (),
    files: type[RunOptions] = FinetuneOptions,
    kind: type[Finetuning] | None = None,
    **changes: Any,
) -> Finetuning:
    """A task's model with its first weights, on its device, ready to be trained.

    Args:
        build: configuration, size of the vocabulary → model.
        head: regular expressions of the parameters that a pre-trained file does not hold.
        files: the options that say what is read.
        kind: the class of the run, where it is not `uer.tasks.finetune.Finetuning`.
        changes: of the configuration, as `labels_num`.
    """
    from uer.tasks.finetune import Finetuning
    from uer.tasks.setup import start_config, start_weights

    config = start_config(chosen[ModelConfig], chosen[files], **changes)
    model = build(config, len(task.tokenizer))
    start_weights(model, chosen[files], head=head)
    return (kind or Finetuning)(task, model, config, **training_options(chosen, files))


def learning_options(chosen: Chosen, files: type[RunOptions] = FinetuneOptions) -> dict[str, Any]:
    """The arguments of `uer.tasks.classifier.ClassifierTask` in fine-tuning."""
    head = chosen[ClassifierOptions]
    learning = {"soft_targets": head.soft_targets, "class_weights": head.class_weights}
    return {**text_options(chosen, files), **learning}


def text_options(chosen: Chosen, files: type[RunOptions] = FinetuneOptions) -> dict[str, Any]:
    """The arguments of `uer.tasks.text.TextTask` in fine-tuning."""
    return {**length_options(chosen[files]), "single_text_sep": chosen[SingleTextOptions].single_text_sep}


def length_options(options: RunOptions) -> dict[str, Any]:
    """How long a row may be, and what happens to longer ones."""
    return {"seq_length": options.seq_length, "overflow": options.overflow}


SAYS_ITSELF = (
    "The saved model says by itself what it is: --load_model_path, --test_path and the path of the result "
    "are enough."
)


def inference_command(
    script: str,
    description: str,
    *groups: type[Options],
    files: type[PredictorOptions] = InferenceOptions,
    command: type[Command] = Command,
    compat: tuple[str, ...] = (),
) -> Command:
    """The command of `inference/<script>.py`, with the options that only it has."""
    return saved_model_command(
        f"inference/{script}.py",
        f"{description} {SAYS_ITSELF}",
        files,
        *groups,
        command=command,
        compat=compat,
    )


def saved_predictor(
    chosen: Chosen,
    task: Task,
    build: Callable[[ModelConfig, int], nn.Module],
    *,
    files: type[PredictorOptions] = InferenceOptions,
    **changes: Any,
) -> Predictor:
    """The model of `--load_model_path`, loaded strictly, on its device: `prepared` for prediction.

    Args:
        build: configuration, size of the vocabulary → model.
        files: the options that say what is read.
        changes: of the configuration, as `labels_num`.
    """
    from uer.tasks.predict import Predictor

    model = build(chosen[ModelConfig].replace(**changes), len(task.tokenizer))
    return Predictor(task, model, chosen[files], chosen.companion)


class FoldCommand(Command):
    """`--load_model_path` names the models of all folds; the companion of the first speaks for them."""

    def _companion(self, written: dict[str, Any]) -> Any:
        if self.model_flag in written:
            written = {**written, self.model_flag: fold_path(written[self.model_flag], 0)}
        return super()._companion(written)


def saved_setting(chosen: Chosen, name: str, default: Any, *, fixed: bool = True) -> Any:
    """A setting of prediction: the one typed, else the saved model's, else the default.

    Raises:
        ConfigError: `fixed`, and what was typed is not what the model was trained with.
    """
    typed = chosen.written.get(name)
    saved = None if chosen.companion is None else chosen.companion.extra.get(name)
    if fixed and None not in (typed, saved) and typed != saved:
        raise ConfigError(
            f"--{name} is {_word(typed)}, but the model of --load_model_path was trained with "
            f"{_word(saved)}; leave it out."
        )
    return next(value for value in (typed, saved, default) if value is not None)


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def saved_length_options(chosen: Chosen) -> dict[str, Any]:
    """`length_options` in prediction: as the model was trained unless typed."""
    return {
        "seq_length": saved_setting(chosen, "seq_length", InferenceOptions.seq_length, fixed=False),
        "overflow": saved_setting(chosen, "overflow", LongRowOptions.overflow, fixed=False),
    }


def saved_text_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.text.TextTask` in prediction."""
    return {
        **saved_length_options(chosen),
        "single_text_sep": saved_setting(chosen, "single_text_sep", SingleTextOptions.single_text_sep),
    }


def saved_cut_tokenizer(chosen: Chosen, default: str) -> Tokenizer:
    """`cut_tokenizer` for prediction: the companion's own where there is one."""
    if chosen.companion is not None and chosen.companion.tokenizer is not None:
        return chosen_tokenizer(chosen)
    return cut_tokenizer(chosen, default)


def cut_tokenizer(chosen: Chosen, default: str) -> Tokenizer:
    """The tokenizer of a task that cuts text in its own way (UER tags words, and reads characters).

    It has the pre-trained model's vocabulary, or the one that flags name, under `--tokenizer`, which is
    `default` unless typed. The tokenizer of a Hugging Face folder cuts text as it does there, unless
    `--tokenizer` is typed.

    Raises:
        ConfigError: flags name another vocabulary than the pre-trained model's, or none is named.
    """
    from uer.tokenizers import build_tokenizer, load_tokenizer, recut

    companion, options = chosen.companion, chosen[TokenizerOptions]
    files = {name: getattr(options, name) for name in ("vocab_path", "spm_model_path", "merges_path")}
    name = chosen.written.get("tokenizer", default)
    settings: dict[str, Any] = {"do_lower_case": options.do_lower_case}
    if companion is None or companion.tokenizer is None:
        return build_tokenizer(name, **files, **settings)
    saved = load_tokenizer(companion.tokenizer)
    if saved.released and not any(files.values()):
        return recut(saved, name) if "tokenizer" in chosen.written else saved
    if not any(files.values()):
        files = {key: companion.tokenizer / file for key, (file, _) in saved.files().items()}
        settings["special_tokens_map"] = companion.tokenizer
    tokenizer = build_tokenizer(name, **files, **settings)
    if tokenizer.vocab.tokens != saved.vocab.tokens:
        raise ConfigError(
            f"the typed vocabulary has {len(tokenizer)} tokens, and the model of --pretrained_model_path "
            f"was trained with another of {len(saved)} ({companion.tokenizer}); leave the flag out to use it."
        )
    return tokenizer
