"""Measurements of the project, a folder for each stage; the targets `bench-*` of the Makefile run them."""
