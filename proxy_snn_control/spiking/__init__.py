"""The spiking actor in torch: neurons, surrogate gradient, population encoder and decoder."""
