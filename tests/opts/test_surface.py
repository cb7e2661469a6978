"""Both generations of UER's command line are accepted: every flag of every script, defaults, choices."""

import json
from pathlib import Path

import pytest

from tests.loading import load_script
from uer.cli import Command
from uer.opts.compat import COMPATIBILITY

SURFACE = json.loads((Path(__file__).parents[1] / "golden" / "cli_surface.json").read_text())
# Flags that are dealt with before the option groups: the frame's own, and those translated into others.
FRAME = {"config_path", "fp16"}
# Flag → why our default is another one.
OTHER_DEFAULTS = {
    "target": "2024's default is a string that its own code cannot read",
    "embedding": "2024's default is a string that its own code cannot read; ours is that of BERT and 2021",
    "tgt_embedding": "the decoder's default depends on the generation that is typed",
    "decoder": "2021's default applies to its encoder-decoder objectives only",
    "do_lower_case": "true, as a truth value",
    "tgt_do_lower_case": "true, as a truth value",
    "data_processor": "the dataset's header or the objective decides",
    "layers_num": "counted in the file that is converted",
    "decoder_layers_num": "counted in the file that is converted",
    "output_model_path": "a folder of the user's is not written to without being named",
}


class Captured(Exception):
    """Carries the command out of a script's `main`."""


def command_of(script: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The `Command` that the script's `main` parses with."""

    def capture(self, argv):
        raise Captured(self)

    monkeypatch.setattr(Command, "parse", capture)
    main = load_script(script).main
    with pytest.raises(Captured) as caught:
        main([])
    return caught.value.args[0]


PRESENT = sorted(SURFACE)


@pytest.mark.parametrize("script", PRESENT)
def test_every_flag_of_both_generations_is_accepted(script, monkeypatch):
    command = command_of(script, monkeypatch)
    ours = {name for action in command.parser._actions for name in action.option_strings}
    for era, flags in SURFACE[script].items():
        missing = sorted(set(flags) - ours - {f"--{name}" for name in FRAME})
        assert not missing, f"{script} of {era} has {missing}"


@pytest.mark.parametrize("script", PRESENT)
def test_defaults_and_choices_are_uers(script, monkeypatch):
    command = command_of(script, monkeypatch)
    fields = {}
    for group in command.groups:
        fields.update({f"--{name}": field for name, field in group.__dataclass_fields__.items()})
    for era, flags in SURFACE[script].items():
        for flag, facts in flags.items():
            name = flag[2:]
            if name in FRAME or name in COMPATIBILITY or name in OTHER_DEFAULTS or flag not in fields:
                continue
            theirs, default = facts.get("default"), fields[flag].default
            if theirs is not None:
                assert (list(default) if isinstance(default, tuple) else default) == theirs, (era, flag)
            allowed = fields[flag].metadata["choices"]
            if allowed is not None:
                assert {c for c in facts.get("choices", []) if c} <= set(allowed), (era, flag)
