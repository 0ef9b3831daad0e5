"""Search, pretrain, fine-tune and measure small BERT encoders."""

__version__ = "0.1.0"
