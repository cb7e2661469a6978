"""How a model is trained: optimiser and schedule, the run, pre-training's files, several workers, attacks."""

from __future__ import annotations

from dataclasses import dataclass

from uer.config.options import Options, fraction, not_negative, option, positive
from uer.errors import ConfigError

# Literal tables of names: `--help` needs them without importing torch; a test holds them against the code.
OPTIMIZERS = ("adamw", "adafactor", "lion", "muon")
SCHEDULERS = (
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "tri_stage",
)
PRECISIONS = ("auto", "fp32", "bf16", "fp16")
ATTACKS = ("fgm", "pgd")
ENGINES = ("ddp", "fsdp", "deepspeed")
NEWEST = "newest"


@dataclass(frozen=True)
class OptimizerOptions(Options):
    """Optimiser and learning-rate schedule."""

    learning_rate: float = positive(2e-5, "peak learning rate")
    optimizer: str = option("adamw", "optimiser", choices=OPTIMIZERS)
    adam_bias_correction: bool = option(
        False, "AdamW divides its means by 1 - beta^k and decays before the update (UER does neither)"
    )
    weight_decay: float = not_negative(0.01, "weight decay; biases and norms are exempt")
    layerwise_lr_decay: float = option(
        1.0,
        "each layer learns at this share of the rate of the one above it",
        check=lambda value: 0 < value <= 1,
        expected="a number above 0 and at most 1",
    )
    freeze: str | None = option(
        None, "parameters in whose names this is found are not trained", metavar="REGEX"
    )
    max_grad_norm: float = not_negative(1.0, "gradients are scaled down to this norm; 0: never")
    scheduler: str = option("linear", "learning-rate schedule", choices=SCHEDULERS)
    warmup: float = fraction(0.1, "fraction of the updates in which the rate rises")
    lr_decay: float = fraction(0.5, "fraction of the updates in which tri_stage decays")

    def check(self) -> None:
        """Combinations that cannot work."""
        if self.adam_bias_correction and self.optimizer not in ("adamw", "muon"):
            raise ConfigError(
                f"--adam_bias_correction is for --optimizer adamw and muon, not {self.optimizer}."
            )
        if self.learning_rate * self.weight_decay >= 1:
            raise ConfigError(
                f"--learning_rate {self.learning_rate} times --weight_decay {self.weight_decay} is 1 or "
                "more, so every update would wipe out the weights; lower one of them."
            )
        if self.scheduler == "polynomial" and self.learning_rate <= 1e-7:
            raise ConfigError(
                f"--learning_rate is {self.learning_rate}; --scheduler polynomial ends at 1e-7, give more."
            )
        if self.scheduler == "tri_stage" and self.warmup + self.lr_decay > 1:
            raise ConfigError(
                f"--warmup {self.warmup} and --lr_decay {self.lr_decay} are more than the whole run; "
                "together they may be 1 at most."
            )


@dataclass(frozen=True)
class TrainOptions(Options):
    """Training run."""

    batch_size: int = positive(32, "rows of a batch (of each worker in pre-training)", word="auto")
    accumulation_steps: int = positive(1, "batches of one update")
    report_steps: int = positive(100, "a line of figures every so many batches")
    seed: int = not_negative(7, "seed of weights, order, masking and dropout")
    precision: str = option(
        "auto",
        "arithmetic of the matrix products; auto: bf16 where a probe finds it faster, else fp32",
        choices=PRECISIONS,
    )
    fp16: bool = option(False, "the older spelling of --precision fp16")
    gradient_checkpointing: bool = option(
        False, "recompute each layer in the backward pass: less memory, a third more time"
    )
    micro_batches: str = option(
        "1",
        "a batch is computed in so many pieces: less memory, the same gradient; auto: as memory asks for "
        "(--batch_size auto is short for it)",
        check=lambda value: value == "auto" or (value.isdecimal() and int(value) > 0),
        expected="a number greater than 0, or auto",
        metavar="N|auto",
    )
    max_bad_steps: int = positive(10, "stop after so many updates in a row without finite loss and gradient")
    tensorboard: bool = option(False, "event files for TensorBoard in the folder of the run")
    wandb: str | None = option(None, "send the figures to Weights & Biases too", metavar="PROJECT")
    swanlab: str | None = option(None, "send the figures to SwanLab too", metavar="PROJECT")
    dry_run: bool = option(False, "say what training would take (memory, operations), and stop")


@dataclass(frozen=True)
class PretrainOptions(Options):
    """Pre-training: what is read, what is written."""

    dataset_path: str = option("dataset.pt", "dataset that preprocess.py wrote", metavar="FILE")
    data_processor: str | None = option(None, "what the dataset was made for; the dataset says it by itself")
    pretrained_model_path: str | None = option(None, "start from these weights", metavar="FILE")
    allow_missing: str | None = option(
        None, "tensors that --pretrained_model_path may lack or have too many of", metavar="REGEX"
    )
    output_model_path: str | None = option(
        None, "checkpoints are written as NAME-STEP", required=True, metavar="NAME"
    )
    group_by_length: bool = option(False, "batches of instances of like length, so less padding")
    total_steps: int = positive(100000, "batches of the whole run")
    epochs_num: float | None = positive(None, "instead of --total_steps: passes over the dataset")
    total_tokens: int | None = positive(None, "instead of --total_steps: tokens to read")
    save_checkpoint_steps: int = positive(10000, "a checkpoint every so many batches")
    save_total_limit: int | None = positive(
        None, "keep only the newest so many checkpoints, and the best on held-out text"
    )
    resume: str | None = option(
        None,
        "continue the run of --output_model_path from its newest checkpoint, or from the one named",
        bare=NEWEST,
        metavar="NAME-STEP",
    )
    eval_dataset_path: str | None = option(
        None, "dataset of held-out text, made by preprocess.py like --dataset_path", metavar="FILE"
    )
    eval_steps: int = positive(1000, "evaluate on --eval_dataset_path every so many batches")
    ema_decay: float = option(
        0.0,
        "keep a running mean of the weights with this decay too, in NAME.ema-STEP; 0: none",
        check=lambda value: 0 <= value < 1,
        expected="a number from 0 to below 1",
    )
    deep_init: bool = option(False, "fresh output projections start smaller the deeper the model is")
    generator_path: str | None = option(
        None, "start the generator of the rtd target from these weights", metavar="FILE"
    )
    teacher_path: str | None = option(
        None,
        "weights of the teacher of the targets soft, cosine, states, scores, attention, contrast",
        metavar="FILE",
    )
    target_weights: tuple[float, ...] = option(
        (),
        "what the mean loss of each word of --target counts in the sum (default: rtd 50, mts 20, others 1)",
        check=lambda value: value >= 0,
        expected="a number of 0 or more",
        metavar="WEIGHT",
    )

    def check(self) -> None:
        """Combinations that cannot work."""
        if self.epochs_num is not None and self.total_tokens is not None:
            raise ConfigError("--epochs_num and --total_tokens both say how long to train; give one of them.")


@dataclass(frozen=True)
class DistributedOptions(Options):
    """Several workers."""

    world_size: int = positive(1, "number of worker processes")
    gpu_ranks: tuple[int, ...] = option((), "rank of each process; one rank alone: that GPU")
    master_ip: str = option("tcp://localhost:12345", "where the workers meet", metavar="URL")
    timeout: int = positive(1800, "seconds after which workers that hang are ended, with their stacks")
    backend: str = option(
        "nccl", "how the workers talk: nccl on GPUs, gloo on CPUs", choices=("nccl", "gloo")
    )
    engine: str = option(
        "ddp",
        "what each worker keeps: all of the model, or a piece of weights and optimiser state",
        choices=ENGINES,
    )
    deepspeed: bool = option(False, "the older spelling of --engine deepspeed")
    deepspeed_config: str = option(
        "models/deepspeed_config.json",
        "JSON file of DeepSpeed: stage of ZeRO, offload, buckets",
        metavar="FILE",
    )

    @property
    def chosen_engine(self) -> str:
        """The engine that either flag names."""
        return "deepspeed" if self.deepspeed else self.engine

    def check(self) -> None:
        """Combinations that cannot work."""
        if self.deepspeed and self.engine == "fsdp":
            raise ConfigError("--deepspeed and --engine fsdp name two engines; leave one of them out.")
        if len(set(self.gpu_ranks)) != len(self.gpu_ranks):
            raise ConfigError(f"--gpu_ranks names a rank twice: {' '.join(map(str, self.gpu_ranks))}.")
        if any(rank < 0 for rank in self.gpu_ranks):
            raise ConfigError(f"--gpu_ranks is {' '.join(map(str, self.gpu_ranks))}; ranks count from 0.")
        if len(self.gpu_ranks) > self.world_size:
            raise ConfigError(
                f"--gpu_ranks names {len(self.gpu_ranks)} ranks but --world_size is {self.world_size}; "
                f"type --world_size {len(self.gpu_ranks)}, or fewer ranks."
            )


@dataclass(frozen=True)
class AdversarialOptions(Options):
    """Adversarial training."""

    use_adv: bool = option(False, "train on attacked embeddings too")
    adv_type: str = option("fgm", "kind of attack", choices=ATTACKS)
    fgm_epsilon: float = positive(1e-6, "length of FGM's step")
    pgd_k: int = positive(3, "steps of PGD")
    pgd_epsilon: float = positive(1.0, "radius that PGD stays within")
    pgd_alpha: float = positive(0.3, "length of one of PGD's steps")
