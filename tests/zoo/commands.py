"""What is typed for each family of the zoo: to load a released folder, fine-tune it, pre-train it further.

`docs/zoo.md` shows these lines and `tests/zoo/test_commands.py` runs them. FOLDER is the folder; the names of
files are the user's.
"""

from __future__ import annotations

from typing import NamedTuple

LOAD = (
    "scripts/extract_features.py --load_model_path FOLDER --test_path texts.txt --prediction_path vectors.npy"
)
FILES = "--train_path train.tsv --dev_path dev.tsv"
CLASSIFY = f"finetune/run_classifier.py --pretrained_model_path FOLDER {FILES}"
DATA = "preprocess.py --corpus_path corpus.txt --vocab_path FOLDER --dataset_path dataset.pt"
GO_ON = "pretrain.py --dataset_path dataset.pt --pretrained_model_path FOLDER --output_model_path model.bin"
BEGIN = "pretrain.py --dataset_path dataset.pt --vocab_path FOLDER --output_model_path model.bin"


class Training(NamedTuple):
    """How a family is pre-trained further."""

    data: str
    """flags of preprocess.py"""
    target: str
    """flags of pretrain.py"""
    begins: bool = False
    """a released folder has not all of it, so the model of a configuration is trained from the start"""


SENTENCES = Training("--data_processor bert", "--target mlm sp")
MLM = Training("--data_processor mlm", "--target mlm")
WHOLE_WORDS = Training("--data_processor mlm --whole_word_masking", "--target mlm")
ORDER = Training("--data_processor albert", "--target mlm sp")
TRAININGS = {
    "F01": SENTENCES,
    "F03": WHOLE_WORDS,
    "F05": Training(
        "--data_processor albert --whole_word_masking --ngram_shares 0.4 0.3 0.2 0.1 "
        "--similar_words_path similar.txt",
        "--target mlm sp",
    ),
    "F07": ORDER,
    "F08": Training("--data_processor structbert", "--target mlm sp --sp_labels_num 3"),
    "F09": Training("--data_processor pert --whole_word_masking", "--target pert"),
    "F10": Training("--data_processor bert", "--target mlm sp contrast --teacher_path FOLDER"),
    "F13": Training(
        "--data_processor bert --knowledge_masking --knowledge_path entities.txt", "--target mlm sp"
    ),
    "F14": SENTENCES,
    "F17": Training(
        "--data_processor ernie_health --whole_word_masking",
        "--config_path models/ernie-health/base_config.json",
        begins=True,
    ),
    "F21": Training("--data_processor skep --sentiment_path polarity.txt", "--target mlm polarity pair"),
    "F24": ORDER,
    "F25": ORDER,
    "F26": Training("--data_processor electra", "--config_path models/electra/base_config.json", begins=True),
    "F27": Training(
        "--data_processor mlm", "--target mlm soft cosine --target_weights 2 5 1 --teacher_path FOLDER"
    ),
    "F28": Training("--data_processor mlm", "--target states scores --teacher_path FOLDER"),
    "F35": SENTENCES,
    "F65": Training("--data_processor cls", "--target cls --labels_num 2"),
}
TUNED = {
    "F15": "finetune/run_uie.py --pretrained_model_path FOLDER --train_path train.txt --dev_path dev.txt",
    "F21": f"finetune/run_ner.py --pretrained_model_path FOLDER --crf_target {FILES}",
}


def fine_tune(number: str) -> str:
    """The line that fine-tunes a family."""
    return TUNED.get(number, CLASSIFY)


def pre_train(number: str) -> tuple[str, str]:
    """The lines that pre-train a family."""
    training = TRAININGS.get(number, MLM)
    return f"{DATA} {training.data}", f"{BEGIN if training.begins else GO_ON} {training.target}"
