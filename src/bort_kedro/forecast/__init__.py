"""What a run will take before it begins: tokens, steps, operations, hours, memory and disk of every stage."""
