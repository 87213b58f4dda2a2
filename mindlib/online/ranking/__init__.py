"""The ranking stage (§5): DIN orders the candidates that matching has retrieved."""
