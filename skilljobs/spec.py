"""Everything that a user says about a job, and its hash."""

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest
from skilljobs.options import Option, absolute_path, declared_options, option
from skilljobs.selection import NEURONS, SAE, Selection

RANDOM_PROMPT, NO_PROMPT = "random", "none"
TINY = "tiny"
RESERVED_NAMES = frozenset({TINY, RANDOM_PROMPT, NO_PROMPT})
"""Values that mean the same whatever files there are."""
WITHOUT_EFFECT_ON_NUMBERS = frozenset({"max_bad_rows", "max_sums_gb", "keep_null"})
"""Fields that only say what is refused or kept: they may change when a job is resumed, and do not name its run."""
GIVEN_WITH_LIKE = frozenset({"like", "metrics_from", "max_sums_gb", "trust_remote_code"})
"""The options of a job that adds metrics to a run; it has all others from that run."""


@dataclass(frozen=True)
class JobSpec:
    """What one job is to do. Every field but `own` is an option of `skilljobs submit` and `skilljobs.submit`.

    None means that the default is worked out from the rest. `own` holds the options that the job's task declares
    itself (see `skilljobs.Task.options_type`), by name; those that have their default value are left out.
    """

    task: str | None = option(None, "Built-in or installed task (see `skilljobs tasks`).", metavar="NAME")
    data: str | None = option(
        None, "Where the task reads its examples; alone: a table of your own.", metavar="FILE", is_path=True
    )
    train_data: str | None = option(
        None, "Tune on these rows; all of the task's own rows are then tested.", metavar="FILE", is_path=True
    )
    model: str | None = option(
        None,
        "Hugging Face id, local directory, or tiny (bundled).",
        metavar="ID-or-DIR",
        default_text="by the task",
        is_path=True,
    )
    revision: str | None = option(
        None, "Branch, tag or commit of a model on the hub.", metavar="NAME", default_text="the main branch"
    )
    adapter: str | None = option(
        None, "A LoRA adapter that is merged into the model.", metavar="DIR", is_path=True, default_text="none"
    )
    quantize: Literal["8bit", "4bit"] | None = option(
        None, "Quantize the weights, with bitsandbytes where that is installed.", default_text="no"
    )
    trust_remote_code: bool = option(
        False, "Run the Python code in the model's directory, which may do anything on your machines."
    )
    metric: tuple[str, ...] = option(
        (), "What to correlate; repeat for more.", metavar="NAME", default_text="all of the task's and the usual ones"
    )
    by: tuple[str, ...] = option(
        (),
        "Adds the populations COLUMN=value and within:COLUMN; repeat for more.",
        metavar="COLUMN",
        default_text="the task's group column",
    )
    limit: int | None = option(
        None, "Test examples at most, sampled by seed.", metavar="N", minimum=4, default_text="all"
    )
    unit: str | None = option(
        None, "Examples with an equal value in COLUMN are not independent of each other.", metavar="COLUMN"
    )
    template: str | None = option(
        None, "The text, with {columns} to fill in; the soft prompt follows it.", metavar="TEXT"
    )
    hide_choices: bool = option(False, "Leave the choices out of the text.")
    chat: bool = option(False, "Put each text into the model's chat template, as what the user says.")
    system: str | None = option(
        None, "With --chat: what the system says.", metavar="TEXT", default_text="what the template does without"
    )
    few_shot: int = option(
        0, "Put K worked examples of the train split in front of every text.", metavar="K", minimum=0
    )
    max_bad_rows: float = option(
        0.01, "Refuse data with more bad rows than this; fewer are left out and listed.", metavar="FRACTION"
    )
    prompt_length: int = option(16, "Vectors of the soft prompt.", metavar="P", minimum=1)
    tune_steps: int = option(300, "Tuning steps at most; tuning stops early.", metavar="N", minimum=1)
    learning_rate: float | None = option(
        None, "Step size of tuning (Adam).", metavar="RATE", default_text="by the scale of the model's embeddings"
    )
    tune_loss: Literal["target", "choices"] = option(
        "target", "Log-probability of the right answer, or cross-entropy over the choices."
    )
    soft_prompt: str | None = option(
        None, "Reuse one, or use a baseline.", metavar="RUN-or-FILE|random|none", default_text="tuned", is_path=True
    )
    prompts: int = option(1, "Tune this many prompts, each from its own seed.", metavar="N", minimum=1)
    prompt_seed: int | None = option(None, "Seed of the first soft prompt.", metavar="N", default_text="--seed")
    tokens: Literal["mean", "each", "last"] = option(
        "mean", "Activations at the prompt positions: averaged, each kept, or the last one."
    )
    statistic: Literal["r", "predictivity"] = option(
        "r", "Beside r, how well a neuron above its training mean predicts each yes/no metric."
    )
    null: int = option(16, "Null metrics.", metavar="K", minimum=0)
    keep_null: bool = option(False, "Keep all correlations of null metrics, not the largest |r| of each alone.")
    ffn: str | None = option(
        None,
        "Where the neurons are, for an architecture that is not known: a down projection, with * for the layer.",
        metavar="PATTERN",
        default_text="by the architecture",
    )
    units: str = option(
        NEURONS,
        "What is read: head norms, the residual stream, router probabilities, or features of an autoencoder.",
        metavar="neurons|heads|residual|experts|sae:DIR",
    )
    layers: str | None = option(None, "Read these layers only.", metavar="A-B", default_text="all")
    experts: str | None = option(
        None, "Of the experts of each layer, read these only.", metavar="A-B", default_text="all"
    )
    dtype: Literal["float32", "bfloat16", "float16"] | None = option(
        None, "Type of weights and activations.", default_text="float32 on CPUs, the model's own on GPUs"
    )
    attention: str | None = option(
        None,
        "Attention implementation of transformers: sdpa, eager, flash_attention_2.",
        metavar="NAME",
        default_text="the best that the model supports",
    )
    answer_end: str | None = option(
        None, "The text that ends every answer.", metavar="TEXT", default_text="the tokenizer's end token"
    )
    batch_tokens: int | None = option(
        None, "Tokens in a batch, with padding.", metavar="N", minimum=1, default_text="by memory"
    )
    shard_size: int | None = option(
        None, "Examples in a shard.", metavar="N", minimum=1, default_text="a sixteenth of all, 32 to 4096, or more"
    )
    tensor_parallel: int = option(1, "Processes that hold one model together.", metavar="N", minimum=1)
    until_ci: float | None = option(
        None,
        "Stop collecting once the 95% interval of r = 0 with every metric is narrower than W.",
        metavar="W",
        default_text="collect all",
    )
    max_sums_gb: float = option(4.0, "Refuse sums of a shard larger than this.", metavar="GB")
    seed: int = option(0, "Seed of everything random.", metavar="N")
    like: str | None = option(
        None,
        "Add the metrics of --metrics-from to this finished run: same examples, same soft prompt, no tuning.",
        metavar="RUN",
        is_path=True,
        default_text="a run of its own",
    )
    metrics_from: str | None = option(
        None, "With --like: a table with `example_id` and a column for each new metric.", metavar="FILE", is_path=True
    )
    own: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for declared in declared_options(type(self)):
            object.__setattr__(self, declared.name, declared.checked(getattr(self, declared.name)))
        if (self.like is None) != (self.metrics_from is None):
            raise InputError("--like RUN and --metrics-from FILE go together: the run, and the metrics to add to it")
        if self.task is None and self.data is None and self.like is None:
            raise InputError("say which task: --task NAME, or --data FILE for a table of your own")
        if self.adapter is not None and self.quantize is not None:
            raise InputError("--adapter is merged into the weights, and --quantize packs them: choose one of them")
        if self.system is not None and not self.chat:
            raise InputError("--system is a turn of a chat: it needs --chat")
        if self.prompts > 1 and self.soft_prompt not in (None, RANDOM_PROMPT):
            raise InputError(
                f"--prompts {self.prompts} makes prompts from seeds, and --soft-prompt {self.soft_prompt} gives one"
            )
        if self.learning_rate is not None and not self.learning_rate > 0:
            raise InputError(f"--learning-rate is {self.learning_rate}; it must be above 0")
        if self.until_ci is not None and not 0 < self.until_ci < 2:
            raise InputError(f"--until-ci is {self.until_ci}; the width of an interval of r is between 0 and 2")
        if self.until_ci is not None and self.prompts > 1:
            raise InputError("--until-ci decides for one soft prompt, and --prompts makes several: choose one of them")
        self.selection  # noqa: B018  refuses what is no range
        if not 0 <= self.max_bad_rows <= 1:
            raise InputError(f"--max-bad-rows is {self.max_bad_rows}; it is a fraction between 0 and 1")

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> "JobSpec":
        """A spec from option values by name; names that are not fields are options of the task."""
        general = {declared.name for declared in declared_options(cls)}
        own = {name: value for name, value in values.items() if name not in general}
        return cls(**{name: value for name, value in values.items() if name in general}, own=own)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "JobSpec":
        """The spec in a run's record."""
        return cls.from_values({name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()})

    @property
    def selection(self) -> Selection:
        """The neurons that are read."""
        return Selection.of(self.ffn, self.layers, self.experts, self.units)

    @property
    def initial_prompt_seed(self) -> int:
        """The seed of the soft prompt's first vectors and of its tuning."""
        return self.seed if self.prompt_seed is None else self.prompt_seed

    def single_prompt_specs(self) -> Iterator["JobSpec"]:
        """The spec of each prompt by itself: their seeds follow each other."""
        for number in range(self.prompts):
            # the mean over prompts needs the null metrics of each
            yield replace(self, prompts=1, prompt_seed=self.initial_prompt_seed + number, keep_null=True)

    def with_absolute_paths(self, own_options: Collection[Option] = ()) -> "JobSpec":
        """The spec with its files and directories named from the root.

        `own_options` are the declarations of the options in `own`.
        """

        def absolute(declared: Option, value: Any) -> Any:
            if not declared.text.is_path or value is None or value in RESERVED_NAMES:
                return value
            return absolute_path(value)

        units = SAE + absolute_path(self.units.removeprefix(SAE)) if self.units.startswith(SAE) else self.units
        general = {
            declared.name: absolute(declared, getattr(self, declared.name)) for declared in declared_options(type(self))
        }
        own = dict(self.own)
        for declared in own_options:
            if declared.name in own:
                own[declared.name] = absolute(declared, own[declared.name])
        return replace(self, **{**general, "units": units}, own=own)

    def as_json(self) -> dict[str, Any]:
        """Every option by name, those of the task among them, as JSON values."""
        general = {declared.name: getattr(self, declared.name) for declared in declared_options(type(self))}
        return dict(json.loads(json.dumps(general | dict(self.own))))

    @property
    def given(self) -> dict[str, Any]:
        """The options to give for this job: those that are not the default and, with `--like`, not the run's."""
        return {name: value for name, value in self.chosen.items() if self.like is None or name in GIVEN_WITH_LIKE}

    @property
    def chosen(self) -> dict[str, Any]:
        """The options that are not the default, those of the task among them, as JSON values."""
        defaults = JobSpec(data="").as_json() | {"data": None}
        return {
            name: value for name, value in self.as_json().items() if name not in defaults or value != defaults[name]
        }

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of all options that are not the default and can change a number.

        A new option leaves older runs their names.
        """
        chosen = {name: value for name, value in self.chosen.items() if name not in WITHOUT_EFFECT_ON_NUMBERS}
        return stable_digest(json.dumps(chosen, sort_keys=True), size=4).hex()
