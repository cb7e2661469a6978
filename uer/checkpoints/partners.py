"""The weights of models that stand beside another one."""

from __future__ import annotations

from pathlib import Path

import torch

from uer.checkpoints.loader import SEGMENT_TABLE, load_into
from uer.models.build import part_parameters, separate_parts, share_parts
from uer.models.model import Model
from uer.utils.logging import logger


def load_generator(model: Model, path: str | Path, *, flag: str, beside: bool) -> None:
    """Fill the generator of a model from a file or folder.

    Args:
        flag: the flag that named the path, for messages.
        beside: the model itself was filled from another file. What both share stays shared where the two
            files agree; where they differ each keeps its own, which is said and recorded. Otherwise the model
            takes what it shares from the generator.

    Raises:
        CheckpointError: the file does not fit.
    """
    shares = model.config.generator_shares if beside else ()
    separate_parts(model, shares)
    load_into(model.generator, path, allow_new=(SEGMENT_TABLE,), flag=flag)
    if not beside:
        return
    agree = tuple(
        name
        for name in shares
        if all(torch.equal(own, theirs) for _, own, theirs in part_parameters(model, name))
    )
    share_parts(model, agree)
    if agree != shares:
        apart = " ".join(name for name in shares if name not in agree)
        logger.info("Model and generator have embeddings of their own (%s): their files differ.", apart)
        model.config = model.config.replace(generator_shares=agree)
