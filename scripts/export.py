"""Write a model for other programs: a folder that Hugging Face's AutoModel loads, or an ONNX graph."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from uer.cli import Chosen, Command, run
from uer.config.checkpoints import ExportOptions
from uer.config.model import ModelConfig
from uer.config.tokenizer import TokenizerOptions
from uer.opts.tokenizer import chosen_tokenizer
from uer.utils.logging import logger

OUTPUTS = (
    "output_layer_2.weight",
    "output_layer.weight",
)  # of heads, by the size of which labels are counted
SENTENCES = ("siamese", "simcse")  # tasks whose models give a vector for a text
COMMAND = Command(
    "scripts/export.py",
    "Export a model. The saved model says by itself what it is; a file of UER-py needs --config_path and "
    "its vocabulary.",
    ExportOptions,
    ModelConfig,
    TokenizerOptions,
    model="saved",
    model_flag="load_model_path",
)


def main(argv: list[str] | None = None) -> int:
    """Options → state → family and head → folder, one more for a generator."""
    chosen = COMMAND.parse(argv)
    options, config = chosen[ExportOptions], chosen[ModelConfig]
    chosen.start_log()
    if options.to == "onnx":
        return write_graph(chosen)

    from uer.checkpoints import adapt_config
    from uer.checkpoints.export import (
        apart,
        choose_family,
        choose_part,
        export_folder,
        head_of,
        norm_difference,
    )
    from uer.checkpoints.sentence_bert import one_stream
    from uer.checkpoints.source import read_whole

    config = adapt_config(config, options.load_model_path, "--load_model_path")
    state, beside = apart(read_whole(options.load_model_path, "--load_model_path"))
    companion, files = chosen.companion, chosen[TokenizerOptions]
    extra = companion.extra if companion else {}
    pooling = config.pooling if extra.get("task") in SENTENCES or config.encoder == "dual" else None
    if config.encoder == "dual":
        state, config = one_stream(state, config)
    family = choose_family(config, extra, options.family, head_of(state))
    head = None if options.head is None else options.head.replace("none", "").replace("+", " ")
    part = choose_part(state, family, head)
    tokenizer = None
    if (companion and companion.tokenizer) or files.vocab_path or files.spm_model_path:
        tokenizer = chosen_tokenizer(chosen)
    labels = companion.labels if companion else None
    told = {"labels": labels, "extra": extra, "tokenizer": tokenizer, "pooling": pooling}
    export_folder(options.output_path, state, config, family, part, **told)
    logger.info("Wrote %s: %s.", options.output_path, family.classes[part])
    left = {name.split(".")[1] for name in state if name.startswith("target.")} - set(part.split())
    if left:
        logger.info("Left out, since that class has no such heads: %s.", " ".join(sorted(left)))
    for name, held in beside.items():
        own, folder, its_part = config.partner(name), f"{options.output_path}-{name}", head_of(held)
        its_family = choose_family(own, {"family": family.name}, options.family)
        export_folder(folder, held, own, its_family, its_part, tokenizer=tokenizer)
        logger.info("Wrote %s: %s, the %s.", folder, its_family.classes[its_part], name)
    if tokenizer is None:
        logger.info("No tokenizer was exported; name its files by --vocab_path or --spm_model_path.")
    if config.layernorm == "uer":
        logger.warning(
            "UER-py's layer norm has no counterpart there: hidden states of the export differ by up to %.1e.",
            norm_difference(state, config),
        )
    return 0


def write_graph(chosen: Chosen) -> int:
    """Options → state → graphs → files, checked."""
    options, config, companion = chosen[ExportOptions], chosen[ModelConfig], chosen.companion

    from uer.checkpoints.source import read_source
    from uer.embeddings.parts import positions_limit
    from uer.tasks.onnx import export_onnx, graph_path, open_graphs
    from uer.tasks.saved import task_of

    path = options.load_model_path
    state = read_source(path, flag="--load_model_path").state
    head = next((state[name] for name in OUTPUTS if name in state), None)
    embedding = "embedding.word.embedding.weight"
    if config.encoder == "dual":
        embedding = f"embedding.dual.embedding_0{embedding.removeprefix('embedding')}"
    graphs = open_graphs(
        config,
        path,
        state[embedding].shape[0],
        head=options.head,
        task=task_of(path, companion.extra if companion else {}),
        labels_num=None if head is None else head.shape[0],
        with_past=options.with_past,
    )
    for ending, graph in graphs.items():
        file = graph_path(options.output_path, ending)
        limit = positions_limit(graph.model) or config.max_seq_length
        difference = export_onnx(graph, file, length=limit)
        logger.info(
            "Wrote %s: %s in, %s out; onnxruntime differs by %.1e of the largest number.",
            file,
            ", ".join(graph.inputs),
            ", ".join(graph.outputs),
            difference,
        )
    return 0


if __name__ == "__main__":
    sys.exit(run(main))
