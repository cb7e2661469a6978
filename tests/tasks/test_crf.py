"""The CRF against all sequences counted one by one, in float64."""

import itertools
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from uer.tasks.crf import CRF


def brute(crf, emissions):
    """Every tag sequence of one row and its score."""
    length, tags = emissions.shape
    for path in itertools.product(range(tags), repeat=length):
        score = crf.start_transitions[path[0]] + crf.end_transitions[path[-1]]
        score = score + sum(emissions[t, tag] for t, tag in enumerate(path))
        yield path, score + sum(crf.transitions[a, b] for a, b in itertools.pairwise(path))


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_and_best_path(seed):
    torch.manual_seed(seed)
    crf = CRF(3)
    for parameter in crf.parameters():
        parameter.data.normal_()
    lengths = [4, 1, 3]
    emissions, tags = torch.randn(3, 4, 3), torch.randint(0, 3, (3, 4))
    real = torch.arange(4) < torch.tensor(lengths)[:, None]
    nll, best = crf.nll(emissions, tags, real), crf.best(emissions, real)
    for row, length in enumerate(lengths):
        every = dict(brute(crf, emissions[row, :length]))
        total = torch.logsumexp(torch.stack(list(every.values())), dim=0)
        gold = every[tuple(tags[row, :length].tolist())]
        torch.testing.assert_close(nll[row], total - gold)
        assert tuple(best[row, :length].tolist()) == max(every, key=every.get)
        assert not best[row, length:].any()
    torch.testing.assert_close(crf.nll(emissions.log_softmax(-1), tags, real), nll)  # as UER feeds it
    nll.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in crf.parameters())


def test_padding_changes_nothing():
    crf = CRF(4)
    emissions, tags = torch.randn(1, 3, 4), torch.tensor([[1, 2, 0]])
    wide = torch.cat([emissions, torch.full((1, 2, 4), 1e4)], dim=1)
    real = torch.tensor([[True, True, True]])
    padded = torch.tensor([[True, True, True, False, False]])
    tags_padded = torch.tensor([[1, 2, 0, -100, -100]])
    torch.testing.assert_close(crf.nll(emissions, tags, real), crf.nll(wide, tags_padded, padded))
    assert crf.best(wide, padded)[:, :3].tolist() == crf.best(emissions, real).tolist()


def test_skeps_tagger():
    """Frozen values of a tagger without start and end: all sequences counted, and PaddleNLP's best path."""
    values = load_file(Path(__file__).parents[1] / "golden" / "zoo" / "F21_skep_crf.safetensors")
    crf = CRF(3)
    for parameter in (crf.start_transitions, crf.end_transitions):
        parameter.data.zero_()
    crf.transitions.data.copy_(values["state.transitions"])
    emissions, tags = values["in.emissions"], values["in.labels"]
    real = torch.arange(emissions.shape[1]) < values["in.lengths"][:, None]
    torch.testing.assert_close(crf.nll(emissions, tags, real), values["out.nll"], rtol=1e-5, atol=1e-5)
    assert torch.equal(crf.best(emissions, real), values["out.viterbi_path"])
