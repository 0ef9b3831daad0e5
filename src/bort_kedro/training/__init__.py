"""The engine: one training loop on accelerate, used by search, pretraining and fine-tuning alike."""
