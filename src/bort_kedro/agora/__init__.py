"""Agora: fine-tuning that learns from a teacher where the student errs, and what it is held against."""
