"""Students that learn from a model while it learns: their losses, whom gradients reach, their files."""

from __future__ import annotations

import pytest
import torch

from tests.models import tiny
from tests.models.tiny import INPUTS, LABELS
from uer.checkpoints import load_into, read_companion, write_state
from uer.checkpoints.layers import take_layers
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.models.build import build_model
from uer.models.model import Model

SMALL = {"layers_num": 1, "hidden_size": 8, "emb_size": 8, "feedforward_size": 12}
CONFIG = tiny.CONFIG.replace(
    target=("mlm", "students"),
    students=({"layers_num": 1}, {**SMALL, "target": ["attention", "states", "scores", "mlm", "soft"]}),
)


def built(config: ModelConfig) -> Model:
    torch.manual_seed(0)
    model = build_model(config, 31)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    return model.eval()


def test_each_student_has_the_losses_of_one_with_a_frozen_teacher():
    """The same numbers as with a copy of the model as it is, frozen, beside each student."""
    model = built(CONFIG)
    terms = model(INPUTS, {"mlm": LABELS})
    names = {0: ["attention", "states"], 1: ["attention", "states", "scores", "mlm", "soft"]}
    assert list(terms) == ["mlm", *(f"{name}_{k}" for k in names for name in names[k])]
    assert set(CONFIG.taught) == set(terms) - {"mlm"}
    for number, targets in names.items():
        config = CONFIG.student(number)
        assert config.target == tuple(targets) and config.teacher["layers_num"] == 2
        alone = build_model(config, 31)
        alone.load_state_dict(model.target.students[number].state_dict())
        alone.teacher.load_state_dict(
            {name: x for name, x in model.state_dict().items() if not name.startswith("target.students")}
        )
        wanted = alone.eval()(INPUTS, {"mlm": LABELS})
        for name in targets:
            for found, expected in zip(terms[f"{name}_{number}"], wanted[name]):
                assert float(found) == pytest.approx(float(expected), rel=1e-5), (number, name)


def test_the_teacher_learns_nothing_from_its_students():
    model = built(CONFIG)
    terms = model(INPUTS, {"mlm": LABELS})
    sum(term.loss_sum for name, term in terms.items() if name != "mlm").backward()
    for name, parameter in model.named_parameters():
        if name.startswith("target.students."):
            # The first student's last layer only hands its attention on, and it has no head.
            continue
        assert parameter.grad is None or not parameter.grad.any(), name
    for student in model.target.students:
        assert student.embedding.word.embedding.weight.grad.any()


def test_a_student_becomes_a_model_of_its_own(tmp_path):
    model = built(CONFIG)
    write_state("m.bin", model.state_dict(), config=CONFIG)
    for number, targets in ((0, ()), (1, ("mlm",))):
        state, companion = take_layers("m.bin", student=number)
        assert companion.config.target == targets and companion.config.teacher is None
        assert companion.config.layers_num == 1 and not companion.config.students
        write_state("s.bin", state, **companion.settings())
        student = build_model(read_companion("s.bin").config, 31)
        load_into(student, "s.bin")
        own, theirs = (m.encode(INPUTS).hidden for m in (student.eval(), model.target.students[number]))
        assert torch.equal(own, theirs)
    with pytest.raises(CheckpointError, match=r"m\.bin has no student 2; they count from 0"):
        take_layers("m.bin", student=2)


def test_the_last_layer_of_a_student_can_be_taken_off():
    """An auxiliary layer, which only helps to learn."""
    config = CONFIG.replace(students=({"layers_num": 2},))
    write_state("m.bin", built(config).state_dict(), config=config)
    state, companion = take_layers("m.bin", (1,), 0)
    assert companion.config.layers_num == 1
    assert not [name for name in state if name.startswith("encoder.transformer.1.")]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"students": ()}, "--target students and the key 'students' of the JSON config"),
        ({"target": ("mlm",)}, "belong together: give both or neither"),
        ({"students": ({"layers": 1},)}, "students: the key 'layers' is unknown"),
        ({"students": ({"target": ["cls", "attention"]},)}, "a student cannot have the target cls"),
        ({"decoder": "transformer"}, "--target students goes with one encoder"),
        ({"students": ({"heads_num": 4},)}, "heads_num is 4 and the teacher's 2; --target attention"),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build_model(CONFIG.replace(**changes), 31)
