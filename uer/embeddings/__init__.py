"""Embeddings. The table maps `--embedding` names to classes without importing torch."""

EMBEDDINGS = {
    "word": "uer.embeddings.parts:WordEmbedding",
    "pos": "uer.embeddings.parts:PosEmbedding",
    "seg": "uer.embeddings.parts:SegEmbedding",
    "sinusoidalpos": "uer.embeddings.parts:SinusoidalPosEmbedding",
    "task": "uer.embeddings.parts:TaskEmbedding",
    "dual": "uer.embeddings.dual:DualEmbedding",
}
