"""Pretraining: masked-LM training of an encoder, alone or under a teacher."""
