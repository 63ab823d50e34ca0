"""Training with the grid in mind: quantization-aware fine-tuning, pruning and weight clustering."""
