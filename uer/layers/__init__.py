"""Tensor building blocks: layouts, masks, attention, norms, feed-forward layers, positions."""
