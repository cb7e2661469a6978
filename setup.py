"""The package `uer`; the scripts at the top and in the folders beside it are run from the checkout."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).resolve().parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "uer" / "__init__.py").read_text(), re.M).group(1)

# One entry a feature that most users do without; `uer.utils.lazy.optional` names it when it is missing.
EXTRAS = {
    "words": ["jieba>=0.42.1"],  # whole-word masking of Chinese
    "japanese": ["fugashi>=1.3", "ipadic>=1.0"],  # MeCab and a dictionary, for BERT's tokenizers of Japanese
    "parquet": ["pyarrow>=15"],  # corpora in parquet files
    "zstd": ["zstandard>=0.20"],  # corpora compressed with zstd
    "deepspeed": ["deepspeed>=0.16"],  # the DeepSpeed engine of the training loop
    "tensorboard": ["tensorboard>=2.15"],  # curves of many runs
    "wandb": ["wandb>=0.16"],  # the same, by a service
    "swanlab": ["swanlab>=0.7"],  # the same, by another service
    "tensorflow": ["tensorflow>=2.16"],  # converting original BERT and ALBERT checkpoints
    "bleu": ["sacrebleu>=2.4"],  # BLEU of generated texts
    "search": ["optuna>=4"],  # random and model-based search of settings, pruning
    "baselines": ["scikit-learn>=1.5"],  # the plain models that reports are compared with
    "stacking": ["bayesian-optimization>=2", "lightgbm>=4"],  # classifiers over classifiers' probabilities
    "serve": ["fastapi>=0.115", "uvicorn>=0.30"],  # the local page on which a model is tried
    "onnx": ["onnx>=1.16", "onnxruntime>=1.20", "onnxscript>=0.3"],  # export to ONNX, checked
    "browser": ["playwright>=1.45"],  # the test that uses the page, with Debian's chromium
}
# What the tests need: the oracles, and every feature that they exercise.
EXTRAS["dev"] = [
    *EXTRAS["words"],
    *EXTRAS["japanese"],
    *EXTRAS["parquet"],
    *EXTRAS["zstd"],
    *EXTRAS["search"],
    *EXTRAS["baselines"],
    *EXTRAS["bleu"],
    *EXTRAS["stacking"],
    *EXTRAS["serve"],
    *EXTRAS["onnx"],
    *EXTRAS["deepspeed"],
    *EXTRAS["tensorboard"],
    "hypothesis>=6.100",
    "peft>=0.17",  # loads the adapters that --peft writes
    "pytest>=8",
    "pytest-timeout>=2.3",
    "rouge-score>=0.1.2",
    "ruff>=0.17,<0.18",
    "scipy>=1.11",
    "seqeval>=1.2",
    "transformers>=5,<6",
]

setup(
    name="uer",
    version=VERSION,
    description="Pre-train, fine-tune, search, evaluate and run language models composed from flags and JSON",
    packages=find_packages(include=["uer", "uer.*"]),
    package_data={"uer.serving": ["page.html"]},
    python_requires=">=3.10",
    install_requires=[
        "huggingface_hub>=0.30",
        "nltk>=3.9",
        "numpy>=1.26",
        "psutil>=5.9",
        "regex>=2023.12.25",
        "safetensors>=0.5",
        "sentencepiece>=0.2",
        "six>=1.16",
        "tokenizers>=0.20,<1",
        "torch>=2.10",
        "tqdm>=4.66",
    ],
    extras_require=EXTRAS,
)
