"""What tasks with settings of their own are told: in training by flags, in prediction by the saved model."""

from __future__ import annotations

from typing import Any

from uer.cli import Chosen
from uer.config.finetune import FinetuneOptions
from uer.config.inference import LongRowOptions, PredictorOptions
from uer.config.options import Options
from uer.config.tasks import QaInferenceOptions, QaOptions, QaRunOptions, QaScoreOptions, Text2textOptions
from uer.opts.finetune import length_options, saved_setting


def saved_seq_length(chosen: Chosen) -> int:
    """`--seq_length` of prediction: the one typed, else the one the model was trained with."""
    return saved_setting(chosen, "seq_length", PredictorOptions.seq_length, fixed=False)


def saved_choice_options(chosen: Chosen, group: type[Options]) -> dict[str, Any]:
    """The arguments of `uer.tasks.choice.ChoiceTask` in prediction; `group` has `max_choices_num`."""
    most = saved_setting(chosen, "max_choices_num", group.max_choices_num, fixed=False)
    overflow = saved_setting(chosen, "overflow", LongRowOptions.overflow, fixed=False)
    return {"seq_length": saved_seq_length(chosen), "choices_num": most, "overflow": overflow}


def qa_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.extractive_qa.QaTask` in fine-tuning."""
    options = chosen[QaRunOptions]
    return {
        **chosen[QaOptions].to_dict(),
        "seq_length": options.seq_length,
        "overflow": options.overflow,
        "metric_kind": chosen[QaScoreOptions].qa_metric,
    }


def saved_qa_options(chosen: Chosen) -> dict[str, Any]:
    """The same in prediction."""
    saved = {
        name: saved_setting(chosen, name, getattr(QaInferenceOptions, name), fixed=False)
        for name in QaOptions.names()
    }
    saved["no_answer"] = chosen.companion is not None and bool(chosen.companion.extra.get("no_answer"))
    return {**saved, "seq_length": saved_seq_length(chosen)}


def saved_text2text_options(chosen: Chosen) -> dict[str, Any]:
    """The arguments of `uer.tasks.text2text.Text2textTask` in prediction."""
    names = ("tgt_seq_length", "beam_size", "length_penalty")
    saved = {
        name: saved_setting(chosen, name, getattr(Text2textOptions, name), fixed=False) for name in names
    }
    saved["prefix"] = saved_setting(chosen, "prefix", Text2textOptions.prefix)
    return {**saved, "seq_length": saved_seq_length(chosen)}


def text2text_options(chosen: Chosen) -> dict[str, Any]:
    """The same in fine-tuning."""
    return {**chosen[Text2textOptions].to_dict(), **length_options(chosen[FinetuneOptions])}
