"""Pure mathematics: values in, values out; no files, no clock, no global random state."""
