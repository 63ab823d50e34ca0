"""From a trained model to verified INT8 builds for every mobile runtime. Needs no device."""
