"""Encoders: transformers' own BERT built from a shape, its exact costs, its weights at the start, and teachers."""
