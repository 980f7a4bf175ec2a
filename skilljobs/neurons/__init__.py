"""Where the neurons of a model, and other units, are, and reading them in a forward pass."""
