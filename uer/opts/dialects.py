"""UER's command line has two generations; both become the same values here.

2021: `--target bert` names the objective and implies data preparation, targets and decoder;
`--embedding word_pos_seg` is one word. 2024: `--data_processor bert --embedding word pos seg` and
`--target mlm sp`. The same holds inside JSON configs.
"""

from __future__ import annotations

from typing import Any

from uer.config.model import EMBEDDINGS
from uer.errors import ConfigError, suggestion
from uer.opts.foreign import ours

# 2021 objective → (2024 data processor, targets, has a decoder)
OBJECTIVES_2021: dict[str, tuple[str, tuple[str, ...], bool]] = {
    "bert": ("bert", ("mlm", "sp"), False),
    "albert": ("albert", ("mlm", "sp"), False),
    "mlm": ("mlm", ("mlm",), False),
    "lm": ("lm", ("lm",), False),
    "bilm": ("bilm", ("bilm",), False),
    "cls": ("cls", ("cls",), False),
    "prefixlm": ("prefixlm", ("lm",), False),
    "seq2seq": ("mt", ("lm",), True),
    "t5": ("t5", ("lm",), True),
    "gsg": ("gsg", ("lm",), True),
    "bart": ("bart", ("lm",), True),
}
# Objective names that are no target names: whoever types one speaks the 2021 dialect.
ONLY_2021 = tuple(name for name in OBJECTIVES_2021 if name not in ("mlm", "lm", "bilm", "cls"))


def split_embedding(flag: str, value: Any) -> tuple[str, ...]:
    """The parts behind either spelling: `word_pos_seg`, `["word", "pos", "seg"]`."""
    words = (value,) if isinstance(value, str) else tuple(value)
    parts = tuple(part for word in words for part in str(word).split("_"))
    for part in parts:
        if part not in EMBEDDINGS:
            joined = "write word_pos_seg or word pos seg, and " if "," in part else ""
            raise ConfigError(
                f"{flag} has the part '{part}'; {joined}choose from {', '.join(EMBEDDINGS)}."
                + suggestion(part, EMBEDDINGS)
            )
    return parts


def translate(values: dict[str, Any], source: str) -> dict[str, Any]:
    """One layer of settings (typed flags, or a JSON config) in the words of 2024.

    Args:
        values: name → value as typed or read.
        source: "--" for flags, else the file's name; used in messages.

    Returns:
        The values with embeddings split, a 2021 objective resolved into `data_processor`, `target`, `decoder`
        (and the 2021 default of `tgt_embedding`); `objective_2021` keeps the word that was typed.
    """
    flag = (lambda name: f"--{name}") if source == "--" else (lambda name: f"{source}: {name}")
    out = ours(values, flag)
    for name in ("embedding", "tgt_embedding"):
        if out.get(name) is not None:
            out[name] = split_embedding(flag(name), out[name])
    if out.get("decoder") in ("None", "none", ""):
        out["decoder"] = None
    if out.get("fp16"):
        out.setdefault("precision", "fp32" if out.get("fp16_opt_level") == "O0" else "fp16")
    out.pop("fp16", None)
    if out.get("batch_size") == "auto":  # the usual rows, in as many pieces as memory asks for
        del out["batch_size"]
        out.setdefault("micro_batches", "auto")
    target = out.get("target")
    if target is None:
        return out
    words = (target,) if isinstance(target, str) else tuple(target)
    out["target"] = words
    old = [word for word in words if word in ONLY_2021]
    if old and len(words) > 1:
        raise ConfigError(
            f"{flag('target')} is '{' '.join(words)}': '{old[0]}' is an objective of 2021 and stands alone; "
            f"in the words of 2024 it is --data_processor {OBJECTIVES_2021[old[0]][0]} "
            f"--target {' '.join(OBJECTIVES_2021[old[0]][1])}."
        )
    if len(words) == 1 and words[0] in OBJECTIVES_2021 and "data_processor" not in out:
        processor, targets, decodes = OBJECTIVES_2021[words[0]]
        out.update(data_processor=processor, target=targets, objective_2021=words[0])
        if decodes:
            out.setdefault("decoder", "transformer")
            out.setdefault("tgt_embedding", ("word", "pos", "seg"))
        elif words[0] in ONLY_2021:
            out["decoder"] = None
    return out
