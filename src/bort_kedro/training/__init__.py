"""Training on accelerate: one loop, used by search, pretraining and fine-tuning alike."""
