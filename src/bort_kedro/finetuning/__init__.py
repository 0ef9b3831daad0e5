"""Fine-tuning: from a task and an encoder to a model, for each hyperparameter set."""
