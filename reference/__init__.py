"""The pages of docs/reference, which are made of the code and of conf: `make reference` writes them anew."""
