"""The options of a job as keyword arguments, for editors and type checkers.

Written by `python -m tests.typed_options` from what `JobSpec` and the project's own tasks declare. Options of tasks in
other packages are accepted as well; a type checker does not know them.
"""

import os
from collections.abc import Sequence
from typing import Literal, TypedDict


class SubmitOptions(TypedDict, total=False):
    """What `skilljobs.submit` takes beside its own arguments."""

    task: str | None
    """Built-in or installed task (see `skilljobs tasks`)."""

    data: str | os.PathLike[str] | None
    """Where the task reads its examples; alone: a table of your own."""

    train_data: str | os.PathLike[str] | None
    """Tune on these rows; all of the task's own rows are then tested."""

    model: str | os.PathLike[str] | None
    """Hugging Face id, local directory, or tiny (bundled)."""

    revision: str | None
    """Branch, tag or commit of a model on the hub."""

    adapter: str | os.PathLike[str] | None
    """A LoRA adapter that is merged into the model."""

    quantize: Literal["8bit", "4bit"] | None
    """Quantize the weights, with bitsandbytes where that is installed."""

    trust_remote_code: bool
    """Run the Python code in the model's directory, which may do anything on your machines."""

    metric: str | Sequence[str]
    """What to correlate; repeat for more."""

    by: str | Sequence[str]
    """Adds the populations COLUMN=value and within:COLUMN; repeat for more."""

    limit: int | None
    """Test examples at most, sampled by seed."""

    unit: str | None
    """Examples with an equal value in COLUMN are not independent of each other."""

    template: str | None
    """The text, with {columns} to fill in; the soft prompt follows it."""

    hide_choices: bool
    """Leave the choices out of the text."""

    chat: bool
    """Put each text into the model's chat template, as what the user says."""

    system: str | None
    """With --chat: what the system says."""

    few_shot: int
    """Put K worked examples of the train split in front of every text."""

    max_bad_rows: float
    """Refuse data with more bad rows than this; fewer are left out and listed."""

    prompt_length: int
    """Vectors of the soft prompt."""

    tune_steps: int
    """Tuning steps at most; tuning stops early."""

    learning_rate: float | None
    """Step size of tuning (Adam)."""

    tune_loss: Literal["target", "choices"]
    """Log-probability of the right answer, or cross-entropy over the choices."""

    soft_prompt: str | os.PathLike[str] | None
    """Reuse one, or use a baseline."""

    prompts: int
    """Tune this many prompts, each from its own seed."""

    prompt_seed: int | None
    """Seed of the first soft prompt."""

    tokens: Literal["mean", "each", "last"]
    """Activations at the prompt positions: averaged, each kept, or the last one."""

    statistic: Literal["r", "predictivity"]
    """Beside r, how well a neuron above its training mean predicts each yes/no metric."""

    null: int
    """Null metrics."""

    keep_null: bool
    """Keep all correlations of null metrics, not the largest |r| of each alone."""

    ffn: str | None
    """Where the neurons are, for an architecture that is not known: a down projection, with * for the layer."""

    units: str
    """What is read: head norms, the residual stream, router probabilities, or features of an autoencoder."""

    layers: str | None
    """Read these layers only."""

    experts: str | None
    """Of the experts of each layer, read these only."""

    dtype: Literal["float32", "bfloat16", "float16"] | None
    """Type of weights and activations."""

    attention: str | None
    """Attention implementation of transformers: sdpa, eager, flash_attention_2."""

    answer_end: str | None
    """The text that ends every answer."""

    batch_tokens: int | None
    """Tokens in a batch, with padding."""

    shard_size: int | None
    """Examples in a shard."""

    tensor_parallel: int
    """Processes that hold one model together."""

    until_ci: float | None
    """Stop collecting once the 95% interval of r = 0 with every metric is narrower than W."""

    max_sums_gb: float
    """Refuse sums of a shard larger than this."""

    seed: int
    """Seed of everything random."""

    like: str | os.PathLike[str] | None
    """Add the metrics of --metrics-from to this finished run: same examples, same soft prompt, no tuning."""

    metrics_from: str | os.PathLike[str] | None
    """With --like: a table with `example_id` and a column for each new metric."""

    text_column: str | None
    """The column with the text."""

    choices_column: str | None
    """The column with the choices."""

    answer_column: str | None
    """The column with the index of the right choice."""

    target_column: str | None
    """The column with the right answer to an open question."""

    id_column: str | None
    """The column that identifies a row."""

    split_column: str | None
    """The column that says train, validation or test."""

    label_words: Sequence[str] | None
    """The two answers."""

    generate: bool
    """The model itself writes the texts."""

    grader: str | os.PathLike[str] | None
    """What grades texts that have no grades."""

    view: Literal["asked", "shown"] | None
    """Read the neurons after the request, or after the text as well."""
