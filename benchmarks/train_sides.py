"""One side of benchmarks/train.py in a process of its own: it trains when told to, and says how long it took.

Three programs named `uer` and `transformers` cannot live in one process; here each reads a description of the
case, builds its model, and then answers one line of JSON a request: {"steps": n} → {"seconds": …}. While one
side works the others wait, so that all of them meet the same machine.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor, nn

RATE, SEED = 1e-4, 7
PRODUCTS = {"cpu": 2048, "cuda": 8192}  # rows and columns


class Side(ABC):
    """Something that takes steps, over the batches of the case again and again, when it is told to."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.device, self.done = case, torch.device(case["device"]), 0
        file = np.load(case["data"])
        arrays = {name: file[name] for name in file.files}
        self.batches = [
            {name: rows[start : start + case["rows"]] for name, rows in arrays.items()}
            for start in range(0, len(arrays["src"]) - case["rows"] + 1, case["rows"])
        ]
        torch.manual_seed(SEED)

    @abstractmethod
    def train(self, steps: int) -> dict[str, int]:
        """Take steps; what was worked on in them: real tokens and rows, or floating-point operations."""

    def about(self) -> str:
        """What was chosen for it."""
        return self.case["precision"]


class Stepping(Side):
    """A model and its optimiser, without a loop of their own."""

    def tensors(self, batch: dict[str, np.ndarray]) -> dict[str, Tensor]:
        """A batch on the device."""
        return {name: torch.from_numpy(rows).to(self.device) for name, rows in batch.items()}

    def next_batch(self) -> dict[str, np.ndarray]:
        """The batch of the next step."""
        self.done += 1
        return self.batches[(self.done - 1) % len(self.batches)]

    def train(self, steps: int) -> dict[str, int]:
        """One step after another; the real tokens and rows of their batches."""
        tokens = rows = 0
        for _ in range(steps):
            batch = self.next_batch()
            tokens, rows = tokens + int((batch["seg"] > 0).sum()), rows + len(batch["seg"])
            self.step(batch)
        return {"tokens": tokens, "rows": rows}

    @abstractmethod
    def step(self, batch: dict[str, np.ndarray]) -> None:
        """One update."""


class Ours(Side):
    """This toolkit: the training loop itself, with its prefetching, clipping and checks."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__(case)
        from uer.config.model import ModelConfig
        from uer.config.training import OptimizerOptions
        from uer.models.build import build_model
        from uer.models.initialize import initialize
        from uer.training.optimizers import build_optimizer
        from uer.training.precision import choose_precision

        config = ModelConfig.pick(case["config"])
        if case["task"] == "classify":
            from uer.tasks.classifier import ClassifierModel

            self.model = ClassifierModel.build(config.replace(labels_num=2), case["vocabulary"])
            self.order = self.by_length()
        else:
            self.model = build_model(config, case["vocabulary"])
        initialize(self.model)
        self.model.to(self.device)
        self.precision, _ = choose_precision(case["precision"], self.device, config.hidden_size)
        self.options = OptimizerOptions(learning_rate=RATE)
        self.optimizer = build_optimizer(self.model, self.options)

    def by_length(self) -> Any:
        """The order of fine-tuning: rows of like length together, batches in random order."""
        from uer.data.order import BatchOrder
        from uer.tasks.finetune import LIKE

        self.rows = {name: np.concatenate([b[name] for b in self.batches]) for name in self.batches[0]}
        lengths = np.count_nonzero(self.rows["seg"], axis=1)
        grouped = np.ceil(lengths / LIKE).astype(np.int64)
        return BatchOrder(len(lengths), self.case["rows"], seed=SEED, ends="keep", lengths=grouped)

    def get(self, step: int) -> Any:
        """A batch as the loop takes it."""
        from uer.data.batch import Batch

        if self.case["task"] == "classify":
            chosen = self.order.batch(step)
            width = int(np.count_nonzero(self.rows["seg"][chosen], axis=1).max())
            inputs = {name: self.rows[name][chosen, :width] for name in ("src", "seg")}
            return Batch.counted(inputs, {"cls": self.rows["cls"][chosen]}, chosen)
        batch = self.batches[step % len(self.batches)]
        labels = {name: batch[name] for name in ("mlm", "sp", "lm") if name in batch}
        ids = np.arange(len(batch["src"]))
        return Batch.counted({name: batch[name] for name in ("src", "seg")}, labels, ids)

    def train(self, steps: int) -> dict[str, int]:
        """Through the loop."""
        from uer.config.training import TrainOptions
        from uer.training.loop import fit
        from uer.training.report import pretraining_line
        from uer.training.runlog import RunLog
        from uer.training.schedulers import build_schedule
        from uer.training.windows import Windows
        from uer.training.workers import Workers

        first, self.done = self.done, self.done + steps
        counted = {"tokens": 0, "rows": 0}

        def get(step: int) -> Any:
            batch = self.get(first + step)
            counted["tokens"] += int(np.count_nonzero(batch.inputs["seg"]))
            counted["rows"] += len(batch.ids)
            return batch

        fit(
            self.model,
            get,
            TrainOptions(report_steps=10**9),
            optimizer=self.optimizer,
            schedule=build_schedule(self.options, 10**6),
            windows=Windows(steps),
            precision=self.precision,
            log=RunLog(pretraining_line, total=steps, quiet=True),
            workers=Workers(self.device),
        )
        return counted

    def about(self) -> str:
        """What was chosen for it."""
        return self.precision.name


class Uer(Stepping):
    """UER-py, from its own folder: its model, optimiser, schedule and step; always fp32 and padded."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__(case)
        sys.path[:0] = [case["path"], str(Path(case["path"]) / "finetune")]
        from uer.opts import model_opts, optimization_opts

        parser = ArgumentParser()
        model_opts(parser)
        optimization_opts(parser)
        told = {"labels_num": 2, "learning_rate": RATE, "soft_targets": False, "soft_alpha": 0.5}
        args = Namespace(**{**vars(parser.parse_args([])), **case["config"], **told})
        args.tokenizer = Namespace(vocab=range(case["vocabulary"]))
        args.train_steps = args.total_steps = 10**6
        if case["task"] == "classify":
            import run_classifier

            self.model = run_classifier.Classifier(args)
            self.optimizer, self.scheduler = run_classifier.build_optimizer(args, self.model)
        else:
            from uer.model_builder import build_model
            from uer.trainer import init_optimizer

            self.model = build_model(args)
            self.optimizer, self.scheduler = init_optimizer(args, self.model)
        for name, param in self.model.named_parameters():
            if "gamma" not in name and "beta" not in name:
                param.data.normal_(0, 0.02)
        self.model.to(self.device).train()

    def step(self, batch: dict[str, np.ndarray]) -> None:
        """As its trainers do, with the figures that they read at each step."""
        x = self.tensors(batch)
        if self.case["task"] == "classify":
            loss, _ = self.model(x["src"], x["cls"], x["seg"], None)
        elif self.case["task"] == "lm":
            loss, correct, count = self.model(x["src"], x["lm"].clamp(min=0), x["seg"])
            self.read = loss.item(), correct.item(), count.item()
        else:
            target = {"mlm": x["mlm"].clamp(min=0), "sp": x["sp"]}
            terms = self.model(x["src"], target, x["seg"])
            loss = terms["mlm"][0] + terms["sp"][0]
            self.read = [figure.item() for term in terms.values() for figure in term]
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.model.zero_grad()


class Transformers(Stepping):
    """Hugging Face `transformers`: a plain loop of what its Trainer does, batches padded to their longest."""

    def __init__(self, case: dict[str, Any]) -> None:
        super().__init__(case)
        self.model = self.build(case, case["config"]).to(self.device).train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=RATE, weight_decay=0.01, fused=True)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 - step / 10**6)

    @staticmethod
    def build(case: dict[str, Any], config: dict[str, Any]) -> nn.Module:
        """The same architecture."""
        import transformers

        common = {"vocab_size": case["vocabulary"]}
        if case["task"] == "lm":
            sizes = {"n_embd": config["hidden_size"], "n_layer": config["layers_num"]}
            sizes |= {"n_head": config["heads_num"], "n_positions": config["max_seq_length"]}
            return transformers.GPT2LMHeadModel(transformers.GPT2Config(**common, **sizes))
        sizes = {
            "hidden_size": config["hidden_size"],
            "intermediate_size": config["feedforward_size"],
            "num_hidden_layers": config["layers_num"],
            "num_attention_heads": config["heads_num"],
            "max_position_embeddings": config["max_seq_length"],
        }
        kind = "BertForSequenceClassification" if case["task"] == "classify" else "BertForPreTraining"
        return getattr(transformers, kind)(transformers.BertConfig(**common, **sizes))

    def step(self, batch: dict[str, np.ndarray]) -> None:
        """Forward in the precision, backward, clip, step."""
        width = int((batch["seg"] > 0).sum(axis=1).max())
        x = self.tensors({name: v[:, :width] if v.ndim == 2 else v for name, v in batch.items()})
        inputs = {"input_ids": x["src"], "attention_mask": (x["seg"] > 0).long()}
        if self.case["task"] == "classify":
            inputs["labels"] = x["cls"]
        elif self.case["task"] == "lm":
            inputs["labels"] = x["src"]
        else:
            kinds = {"token_type_ids": (x["seg"] == 2).long()}
            inputs |= {**kinds, "labels": x["mlm"], "next_sentence_label": x["sp"]}
        low = torch.autocast(self.device.type, torch.bfloat16)
        with low if self.case["precision"] == "bf16" else nullcontext():
            loss = self.model(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.scheduler.step()
        self.optimizer.zero_grad()


class Products(Side):
    """No program: large matrix products alone, the rate that the others are held against."""

    def __init__(self, case: dict[str, Any]) -> None:
        self.case, self.device = case, torch.device(case["device"])
        kind = torch.bfloat16 if case["precision"] == "bf16" else torch.float32
        size = case["config"].get("products") or PRODUCTS[self.device.type]
        self.a, self.b = (torch.randn(size, size, device=self.device).to(kind) for _ in range(2))

    def train(self, steps: int) -> dict[str, int]:
        """Products; their floating-point operations."""
        for _ in range(steps):
            self.a @ self.b
        return {"flops": 2 * self.a.shape[0] ** 3 * steps}


SIDES = {"ours": Ours, "uer": Uer, "transformers": Transformers, "products": Products}


def peak(device: torch.device) -> int:
    """Bytes at the highest moment: of the GPU's tensors, or of the whole process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def no_memory(error: Exception) -> bool:
    """Whether an allocation failed, by torch's word or by that of a program that passes it on."""
    causes = (error, error.__cause__)
    return any(isinstance(e, torch.OutOfMemoryError) or "can't allocate memory" in str(e) for e in causes)


def work(case: dict[str, Any], answers: IO[str]) -> None:
    """Build, then answer."""
    side = SIDES[case["side"]](case)
    print(json.dumps({"about": side.about()}), file=answers, flush=True)
    for line in sys.stdin:
        steps = json.loads(line)["steps"]
        began, used = time.perf_counter(), time.process_time()
        done = side.train(steps)
        if side.device.type == "cuda":
            torch.cuda.synchronize()
        spent = {"seconds": time.perf_counter() - began, "cpu": time.process_time() - used}
        if side.device.type == "cuda":
            torch.cuda.empty_cache()  # the next side has the card for itself, but for weights
        print(json.dumps({**spent, "peak": peak(side.device), **done}), file=answers, flush=True)


def main() -> None:
    """Work until no more is asked for, or until memory runs out, which is an answer too."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the programs print goes to the log
    case = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(case["threads"])
    try:
        work(case, answers)
    except Exception as error:
        if not no_memory(error):
            raise
        print(json.dumps({"full": str(error)}), file=answers, flush=True)


if __name__ == "__main__":
    main()
