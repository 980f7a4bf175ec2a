"""Properties of examples that a neuron may follow. Each is a function of an example; none knows a model or a run."""
