"""Keys of a JSON config that old files have and that change nothing."""

from __future__ import annotations

import json

import pytest

from uer.cli import Command
from uer.config.model import ModelConfig
from uer.errors import ConfigError


def test_ignore_index_is_said_to_have_no_effect(tmp_path):
    """UER-py left padding out of a smoothed loss with this key; it is never in the loss here."""
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"hidden_size": 64, "emb_size": 64, "heads_num": 4, "ignore_index": True}))
    command = Command("x.py", "", ModelConfig, model="new")
    chosen = command.parse(["--config_path", str(path)])
    assert chosen[ModelConfig].hidden_size == 64
    (note,) = chosen.notes
    assert note.startswith("the key ignore_index is accepted") and "padding is never predicted" in note
    path.write_text(json.dumps({"ignore_indx": True}))
    with pytest.raises(ConfigError, match="the key 'ignore_indx' is unknown"):
        command.parse(["--config_path", str(path)])
