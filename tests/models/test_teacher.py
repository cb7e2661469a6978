"""Learning from a teacher: DistilBERT's loss re-derived in fp64, what is never trained, what is refused."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from transformers import BertConfig, BertForMaskedLM

from tests.models import tiny
from tests.models.tiny import INPUTS, LABELS, SEG, SRC
from uer.checkpoints import load_into, read_state
from uer.checkpoints.teacher import load_teacher, with_teacher, without_teacher
from uer.config.model import ModelConfig
from uer.errors import CheckpointError, ConfigError
from uer.layers.layout import Layout
from uer.models.build import build_model
from uer.models.initialize import initialize
from uer.models.model import Model

SIZES = {
    "vocab_size": 31,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 20,
    "max_position_embeddings": 12,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
}


@pytest.fixture
def berts(tmp_path) -> dict[str, BertForMaskedLM]:
    """A student of two layers and a teacher of four, as folders of Hugging Face."""
    models = {}
    for name, layers in (("student", 2), ("teacher", 4)):
        torch.manual_seed(layers)
        model = BertForMaskedLM(BertConfig(**SIZES, num_hidden_layers=layers))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.2)
        model.save_pretrained(tmp_path / name)
        models[name] = model.double().eval()
    return models


CONFIG = tiny.CONFIG.replace(layernorm_eps=1e-12, target=("mlm", "soft", "cosine"))


def built(tmp_path, config: ModelConfig) -> Model:
    config = with_teacher(config, tmp_path / "teacher")
    model = build_model(config, 31)
    load_into(model, tmp_path / "student", allow_new=(r"target\.",))
    load_teacher(model, tmp_path / "teacher")
    return model


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_distilbert_in_fp64(berts, tmp_path, temperature):
    """Guesses with temperature and cosines of all real tokens, hidden ones or not; and their gradients."""
    model = built(tmp_path, CONFIG.replace(soft_temperature=temperature)).eval()
    assert model.teacher.config.layers_num == 4  # its folder says so
    terms = model(INPUTS, {"mlm": LABELS})
    real = SEG.bool()
    ours, theirs = (
        m(SRC, attention_mask=SEG, output_hidden_states=True) for m in (berts["student"], berts["teacher"])
    )
    p, q = ((out.logits[real] / temperature).log_softmax(-1) for out in (theirs, ours))
    soft = temperature**2 * (p.exp().detach() * (p.detach() - q)).sum()
    cosine = (1 - F.cosine_similarity(ours.hidden_states[-1][real], theirs.hidden_states[-1][real])).sum()
    mlm = F.cross_entropy(ours.logits.flatten(0, 1), LABELS.flatten(), reduction="sum")
    for name, wanted in (("mlm", mlm), ("soft", soft), ("cosine", cosine)):
        assert float(terms[name].loss_sum) == pytest.approx(float(wanted), rel=2e-5), name
    assert int(terms["soft"].count) == int(terms["cosine"].count) == 10
    agree = (ours.logits[real].argmax(-1) == theirs.logits[real].argmax(-1)).sum()
    assert int(terms["soft"].correct) == int(agree)
    for name, loss in (("soft", soft), ("cosine", cosine)):
        model.zero_grad(), berts["student"].zero_grad()
        terms[name].loss_sum.backward(retain_graph=True)
        loss.backward(retain_graph=True)
        pairs = [
            (model.embedding.word.embedding.weight, berts["student"].bert.embeddings.word_embeddings.weight)
        ]
        if name == "soft":
            head = berts["student"].cls.predictions
            pairs += [(model.target.mlm.linear_2.bias, head.bias)]
            pairs += [(model.target.mlm.linear_1.weight, head.transform.dense.weight)]
        for own, wanted in pairs:
            torch.testing.assert_close(own.grad, wanted.grad.float(), rtol=1e-4, atol=1e-5)


def test_a_teacher_is_never_trained_and_never_saved(berts, tmp_path):
    model = built(tmp_path, CONFIG.replace(target=("mlm", "soft", "states", "scores", "attention")))
    model.train()
    assert not model.teacher.training and model.encoder.training
    before = {name: x.clone() for name, x in model.teacher.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    terms = model(INPUTS, {"mlm": LABELS})
    sum(term.loss_sum for term in terms.values()).backward()
    optimizer.step()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is None) == name.startswith("teacher."), name
    assert all(torch.equal(x, before[name]) for name, x in model.teacher.state_dict().items())
    saved = model.state_dict()
    assert not [name for name in saved if name.startswith("teacher.")]
    assert "target.states.linear.weight" in saved
    again = built(tmp_path, model.config)
    again.load_state_dict(saved)  # strict: nothing is missing
    assert torch.equal(again.encoder.transformer[0].feed_forward.linear_1.weight,
                       model.encoder.transformer[0].feed_forward.linear_1.weight)  # fmt: skip
    with pytest.raises(RuntimeError, match=r"target\.mlm"):
        again.load_state_dict({name: x for name, x in saved.items() if "mlm" not in name})
    kept = without_teacher(model.config)
    assert kept.target == ("mlm",) and kept.teacher is None and kept.partners == ()


def test_language_models_can_be_distilled():
    config = CONFIG.replace(
        target=("lm", "soft"), mask="causal", teacher={"target": ["lm"], "layers_num": 3}, tie_weights=False
    )
    model = build_model(config, 31)
    initialize(model)
    terms = model(INPUTS, {"lm": SRC})
    own, theirs = (
        m.target.lm.logits(m.encode(INPUTS).hidden).double()[SEG.bool()] for m in (model, model.teacher)
    )
    p, q = (logits.div(2).log_softmax(-1) for logits in (theirs, own))
    assert float(terms["soft"].loss_sum) == pytest.approx(float(4 * (p.exp() * (p - q)).sum()), rel=1e-3)


@pytest.mark.parametrize("mask", ["causal", "causal_with_prefix"])
def test_only_what_a_query_sees_is_compared(mask):
    """Keys that a query may not see change nothing."""
    config = CONFIG.replace(target=("scores", "attention"), mask=mask, teacher={"target": []})
    torch.manual_seed(0)
    model = build_model(config, 31)
    initialize(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    model.eval()
    src, seg = torch.randint(1, 31, (1, 6)), torch.tensor([[1, 1, 1, 2, 2, 2]])
    terms = model({"src": src, "seg": seg}, {})
    layers = [m.encode({"src": src, "seg": seg}, all_layers=True).layers for m in (model, model.teacher)]
    wanted = {"scores": 0.0, "attention": 0.0}
    for number in range(2):
        own, theirs = (
            m.encoder.scores([x.flatten(0, 1) for x in states], number, Layout.dense(1, 6))[0].double()
            for m, states in zip((model, model.teacher), layers)
        )
        for query in range(6):
            last = max(query, 2) if mask == "causal_with_prefix" else query
            a, b = own[:, query, : last + 1], theirs[:, query, : last + 1]
            wanted["scores"] += F.mse_loss(a, b)
            if number == 1:
                p, q = b.softmax(-1), a.softmax(-1)
                wanted["attention"] += (p * (p / q).log()).sum(-1).mean()
    for name, term in terms.items():
        assert float(term.loss_sum) == pytest.approx(float(wanted[name]), rel=1e-4), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target": ("sp", "soft")}, "--target soft compares guesses of tokens; add the target mlm or lm"),
        (
            {"teacher": {"hidden_size": 8, "emb_size": 8}},
            "hidden_size is 16 and the teacher's 8; --target cosine",
        ),
        (
            {"target": ("states",), "teacher": {"layers_num": 3}},
            "the teacher has 3 layers, no multiple of the",
        ),
        (
            {"target": ("states",), "teacher_layers": (1, 5)},
            "--teacher_layers is 1 5; give 2 numbers, one for each layer of the model, from 1 to 4",
        ),
        ({"target": ("scores",), "teacher_layers": (1,)}, "--teacher_layers is 1; give 2 numbers"),
        ({"target": ("scores",), "teacher": {"heads_num": 4}}, "heads_num is 2 and the teacher's 4"),
        ({"target": ("attention",), "mask": "causal"}, "--mask is causal and the teacher's fully_visible"),
        ({"target": ("states",), "has_residual_attention": True}, "compares the layers of transformers"),
    ],
)
def test_what_does_not_fit_is_refused(berts, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        config = with_teacher(CONFIG.replace(**changes), tmp_path / "teacher")
        build_model(config, 31)


def test_a_path_is_needed_and_only_then(berts, tmp_path):
    with pytest.raises(
        ConfigError, match="--target soft cosine learns from a teacher; name its weights with"
    ):
        with_teacher(CONFIG, None)
    with pytest.raises(ConfigError, match="--teacher_path has no meaning for --target mlm; leave it out"):
        with_teacher(CONFIG.replace(target=("mlm",)), tmp_path / "teacher")
    assert with_teacher(CONFIG.replace(target=("mlm",)), None).teacher is None
    model = build_model(with_teacher(CONFIG, tmp_path / "teacher"), 32)
    with pytest.raises(CheckpointError, match="the vocabulary has 32 tokens and the file 31"):
        load_teacher(model, tmp_path / "teacher")
    with pytest.raises(CheckpointError, match="--teacher_path"):
        read_state(tmp_path / "nothing.bin", "--teacher_path")


def test_the_json_config_describes_a_teacher_that_says_nothing_of_itself(berts, tmp_path):
    torch.save(BertForMaskedLM.from_pretrained(tmp_path / "teacher").state_dict(), "bare.bin")
    load_into(teacher := build_model(CONFIG.replace(target=("mlm",), layers_num=4), 31), tmp_path / "teacher")
    torch.save(teacher.state_dict(), "ours.bin")
    config = with_teacher(CONFIG.replace(teacher={"layers_num": 4}), "ours.bin")
    assert config.partner("teacher").layers_num == 4 and config.partner("teacher").target == ("mlm",)
    model = build_model(config, 31)
    load_teacher(model, "ours.bin")
    with pytest.raises(CheckpointError, match="set layers_num in the config to 4"):
        load_teacher(build_model(with_teacher(CONFIG, "ours.bin"), 31), "ours.bin")


def test_a_teacher_of_few_positions_says_so(berts, tmp_path):
    model = built(tmp_path, CONFIG.replace(teacher={"max_seq_length": 12}))
    model.embedding.pos.embedding = torch.nn.Embedding(20, 16)
    src = torch.ones(1, 15, dtype=torch.long)
    with pytest.raises(ConfigError, match="a sequence of 15 tokens meets a model of 12 positions"):
        model({"src": src, "seg": src}, {"mlm": src})
