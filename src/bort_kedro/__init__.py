"""Search, pretrain, fine-tune and measure small BERT encoders."""

__version__ = "0.2.0"
