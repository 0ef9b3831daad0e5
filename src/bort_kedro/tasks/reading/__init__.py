"""Reading tasks: files and hub as their publishers lay them out."""
