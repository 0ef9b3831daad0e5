"""Models for other runtimes: written, verified against PyTorch, and opened again."""
