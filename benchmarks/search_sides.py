"""A grid search as a plain script does it: for each setting read, cut and pad the text anew, train, evaluate.

The model is transformers' BERT of the same sizes with random weights; rows are padded to the full length, as
UER-py's are. Used by `benchmarks/search.py`; prints the best accuracy of each setting.

    python3 benchmarks/search_sides.py TRAIN DEV VOCABULARY CONFIG LENGTH BATCHES RATES EPOCHS
"""

from __future__ import annotations

import itertools
import json
import random
import sys
from collections.abc import Sequence
from pathlib import Path


def read(path: str, tokenizer: object, length: int) -> list[tuple[list[int], list[int], int]]:
    """Ids and mask, both padded, and label of each row, one row at a time."""
    rows = []
    for line in Path(path).read_text(encoding="utf-8").splitlines()[1:]:
        label, text = line.split("\t")[:2]
        found = tokenizer(text, padding="max_length", truncation=True, max_length=length)
        rows.append((found["input_ids"], found["attention_mask"], int(label)))
    return rows


def main(words: Sequence[str]) -> None:
    """Train and evaluate each setting in turn."""
    import torch
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        BertTokenizer,
        get_linear_schedule_with_warmup,
    )

    train_path, dev_path, vocabulary, config_path, length = words[:5]
    lists = [[float(value) for value in word.split(",")] for word in words[5:8]]
    sizes = json.loads(Path(config_path).read_text(encoding="utf-8"))
    config = BertConfig(
        vocab_size=len(Path(vocabulary).read_text(encoding="utf-8").splitlines()),
        hidden_size=sizes["hidden_size"],
        intermediate_size=sizes["feedforward_size"],
        num_attention_heads=sizes["heads_num"],
        num_hidden_layers=sizes["layers_num"],
        max_position_embeddings=sizes["max_seq_length"],
    )
    for batch_size, rate, epochs in itertools.product(*lists):
        torch.manual_seed(7)
        random.seed(7)
        tokenizer = BertTokenizer(vocabulary)
        model = BertForSequenceClassification(config)
        train, dev = (read(path, tokenizer, int(length)) for path in (train_path, dev_path))
        steps = -(-len(train) // int(batch_size)) * int(epochs)
        optimizer = torch.optim.AdamW(model.parameters(), lr=rate)
        schedule = get_linear_schedule_with_warmup(optimizer, steps // 10, steps)
        best = 0.0
        for _ in range(int(epochs)):
            random.shuffle(train)
            model.train()
            for start in range(0, len(train), int(batch_size)):
                ids, mask, gold = map(torch.tensor, zip(*train[start : start + int(batch_size)]))
                loss = model(input_ids=ids, attention_mask=mask, labels=gold).loss
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
            model.eval()
            right = 0
            with torch.no_grad():
                for start in range(0, len(dev), int(batch_size)):
                    ids, mask, gold = map(torch.tensor, zip(*dev[start : start + int(batch_size)]))
                    right += int((model(input_ids=ids, attention_mask=mask).logits.argmax(1) == gold).sum())
            best = max(best, right / len(dev))
        print(json.dumps([batch_size, rate, epochs, best]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
