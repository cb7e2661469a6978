"""Embeddings. The table maps `--embedding` names to classes without importing torch."""

EMBEDDINGS = {
    "word": "uer.embeddings.parts:WordEmbedding",
    "pos": "uer.embeddings.parts:PosEmbedding",
    "seg": "uer.embeddings.parts:SegEmbedding",
    "sinusoidalpos": "uer.embeddings.parts:SinusoidalPosEmbedding",
    "dual": "uer.embeddings.dual:DualEmbedding",
    "task": "uer.embeddings.parts:TaskEmbedding",
}
