"""Weights: transformers' own BERT, built from a shape."""
