"""Search: optimal subarchitecture extraction over a space of shapes."""
