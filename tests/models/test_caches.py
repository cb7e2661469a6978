"""Reading a text bit by bit gives the numbers of reading it whole."""

from __future__ import annotations

import pytest
import torch

from tests.models.zoo import DECODERS, ENCODERS, ONE_WAY, batch, small
from uer.errors import ConfigError

CLOSE = {"atol": 1e-5, "rtol": 1e-5}


@pytest.mark.parametrize("parts", [(4, 1, 1, 1, 1, 1), (1,) * 9, (3, 4, 2)], ids=str)
@pytest.mark.parametrize("name", [*ONE_WAY, "prefixlm"])
@torch.no_grad()
def test_incremental_encoding(name: str, parts: tuple[int, ...]) -> None:
    if name == "prefixlm" and parts[0] < 4:
        parts = (4, 3, 2)  # the prefix, which sees itself whole, comes in one piece
    model, inputs = small(name), batch()
    inputs["src"][inputs["src"] == 0] = 1
    inputs["seg"][:, :4], inputs["seg"][:, 4:] = 1, 2
    whole = model.encode(inputs).hidden
    caches, start, found = model.encoder.make_caches(4), 0, []
    for size in parts:
        step = {key: x[:, start : start + size] for key, x in inputs.items()}
        found.append(model.encode(step, caches=caches).hidden)
        start += size
    assert caches.length == 9
    torch.testing.assert_close(torch.cat(found, dim=1), whole, **CLOSE)


@pytest.mark.parametrize("name", ONE_WAY)
@torch.no_grad()
def test_prompts_of_unequal_length_stand_on_the_right(name: str) -> None:
    model, prompts, new = small(name), batch(left=True), torch.randint(1, 50, (3, 3))
    caches = model.encoder.make_caches(16)
    found = [model.encode(prompts, caches=caches).hidden[:, -1:]]
    for token in new.split(1, dim=1):
        found.append(model.encode({"src": token}, caches=caches).hidden)
    for row in range(3):
        alone = torch.cat([prompts["src"][row, row:], new[row]])[None]
        seg = torch.cat([prompts["seg"][row, row:], torch.ones(3, dtype=torch.long)])[None]
        whole = model.encode({"src": alone, "seg": seg}).hidden
        torch.testing.assert_close(torch.cat(found, dim=1)[row], whole[0, -4:], **CLOSE)


@pytest.mark.parametrize("name", ONE_WAY)
@torch.no_grad()
def test_rows_chosen_for_a_beam(name: str) -> None:
    model, prompts, rows = small(name), batch(), torch.tensor([2, 0, 0])
    prompts["src"][prompts["src"] == 0], prompts["seg"][:] = 1, 1
    caches = model.encoder.make_caches(16)
    model.encode(prompts, caches=caches)
    caches.reorder(rows)
    step = torch.randint(1, 50, (3, 1))
    out = model.encode({"src": step}, caches=caches).hidden
    whole = model.encode({"src": torch.cat([prompts["src"][rows], step], dim=1)}).hidden
    torch.testing.assert_close(out[:, 0], whole[:, -1], **CLOSE)


@pytest.mark.parametrize("name", DECODERS)
@torch.no_grad()
def test_incremental_decoding(name: str) -> None:
    model, inputs = small(name), batch()
    tgt = torch.randint(1, 50, (3, 6))
    memory, seg = model.encode(inputs).hidden, inputs["seg"]
    whole = model.decode({"tgt_in": tgt}, memory, seg).hidden
    caches = model.decoder.make_caches(2)
    found = [
        model.decode({"tgt_in": part}, memory, seg, caches=caches).hidden
        for part in tgt.split([2, 1, 3], dim=1)
    ]
    torch.testing.assert_close(torch.cat(found, dim=1), whole, **CLOSE)
    caches.truncate(5)
    again = model.decode({"tgt_in": tgt[:, 5:]}, memory, seg, caches=caches).hidden
    torch.testing.assert_close(again, whole[:, 5:], **CLOSE)
    rows = torch.tensor([1, 1, 2])
    caches.reorder(rows)
    step = torch.randint(1, 50, (3, 1))
    out = model.decode({"tgt_in": step}, memory[rows], seg[rows], caches=caches).hidden
    longer = {"tgt_in": torch.cat([tgt[rows], step], dim=1)}
    torch.testing.assert_close(
        out[:, 0], model.decode(longer, memory[rows], seg[rows]).hidden[:, -1], **CLOSE
    )


@pytest.mark.parametrize(
    "name", sorted(name for name in ENCODERS if name.startswith("bi") and name != "bert")
)
def test_encoders_that_read_backwards_cannot_continue(name: str) -> None:
    model = small(name)
    with pytest.raises(ConfigError, match="a bidirectional encoder cannot continue a text"):
        model.encode(batch(), caches=model.encoder.make_caches(4))


def test_positions_run_on_and_end_at_the_table() -> None:
    model = small("gpt2", max_seq_length=10)
    caches = model.encoder.make_caches(16)
    model.encode(batch(), caches=caches)
    model.encode({"src": torch.ones(3, 1, dtype=torch.long)}, caches=caches)
    with pytest.raises(ConfigError, match="11 tokens meets a model of 10 positions"):
        model.encode({"src": torch.ones(3, 1, dtype=torch.long)}, caches=caches)
