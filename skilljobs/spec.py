"""Everything that a user says about a job, and its hash."""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from skilljobs.errors import InputError
from skilljobs.hashing import stable_digest

RANDOM_PROMPT, NO_PROMPT = "random", "none"


@dataclass(frozen=True)
class JobSpec:
    """One field an option of `skilljobs submit`, under the same name. None: the default is worked out from the rest."""

    task: str | None = None
    """Built-in or installed task; None with `data`: the user's own table."""
    data: str | None = None
    """The file that the examples are read from; None: the task makes its own."""
    model: str | None = None
    """`tiny`, a local directory, or an id on the Hugging Face hub."""
    metric: tuple[str, ...] = ()
    """Metrics to correlate; empty: all of the task's and the usual model-derived ones."""
    by: tuple[str, ...] = ()
    """Columns that make populations; empty: the task's group column."""
    limit: int | None = None
    """Test examples at most, sampled by seed, stratified by the group column."""
    hide_choices: bool = False
    unit: str | None = None
    """Column whose equal values make one unit."""
    template: str | None = None
    train_data: str | None = None
    """The file that tunes; all of the task's own rows are then tested."""
    label_words: tuple[str, ...] | None = None
    """What stands for entailment and non-entailment, two words; None: these."""
    view: str | None = None
    """Of Skill-Mix: `asked` or `shown`; None: `asked`."""
    generate: bool = False
    """Whether the model itself writes the texts of Skill-Mix."""
    grader: str | None = None
    """What grades texts that have no grades: a model, or MODULE:FUNCTION."""
    text_column: str | None = None
    """The columns of a table: None, those of the same name without `_column`."""
    choices_column: str | None = None
    answer_column: str | None = None
    target_column: str | None = None
    id_column: str | None = None
    split_column: str | None = None
    max_bad_rows: float = 0.01
    """The fraction of rows that may be bad."""
    prompt_length: int = 16
    """Soft-prompt vectors."""
    tune_steps: int = 300
    """Updates at most; tuning stops early."""
    learning_rate: float | None = None
    """Adam's step in embedding space; None: a fifth of the embeddings' root mean square."""
    tune_loss: Literal["target", "choices"] = "target"
    soft_prompt: str | None = None
    """A run or file to reuse, `random` or `none`; None: tuned."""
    prompts: int = 1
    """Soft prompts, each from a seed of its own; correlations are taken over all of them."""
    prompt_seed: int | None = None
    """Of the prompt's first vectors and its tuning; None: `seed`."""
    tokens: Literal["mean", "each", "last"] = "mean"
    """How the activations at the prompt positions become numbers."""
    null: int = 16
    """Null metrics."""
    dtype: str | None = None
    batch_tokens: int | None = None
    shard_size: int | None = None
    """Examples a shard."""
    until_ci: float | None = None
    """Collect no more once the interval of the tenth neuron of every metric is narrower; None: collect all."""
    max_sums_gb: float = 4.0
    """Largest size of a shard's sums, in 10^9 bytes before compression."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.task is None and self.data is None:
            raise InputError("say which task: --task NAME, or --data FILE for a table of your own")
        leasts = {"limit": 4, "tune_steps": 1, "prompts": 1, "null": 0, "batch_tokens": 1, "shard_size": 1}
        for name, least in leasts.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise InputError(f"{option_of(name)} is {value}; it must be {least} at least")
        if self.prompt_length < 1:
            raise InputError("--prompt-length must be 1 at least; --soft-prompt none reads at the last text token")
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
        if not 0 <= self.max_bad_rows <= 1:
            raise InputError(f"--max-bad-rows is {self.max_bad_rows}; it is a fraction between 0 and 1")
        for name, known in (("tokens", ("mean", "each", "last")), ("tune_loss", ("target", "choices"))):
            if getattr(self, name) not in known:
                raise InputError(f"{option_of(name)} is {getattr(self, name)!r}; it may be {' or '.join(known)}")
        if self.label_words is not None and len(set(self.label_words)) != 2:
            raise InputError(f"--label-words are {' and '.join(self.label_words)}; it takes two different words")
        if self.dtype not in (None, "float32", "bfloat16", "float16"):
            raise InputError(f"--dtype is {self.dtype!r}; it may be float32, bfloat16 or float16")

    @property
    def seed_of_prompt(self) -> int:
        return self.seed if self.prompt_seed is None else self.prompt_seed

    def of_each_prompt(self) -> Iterator["JobSpec"]:
        """The spec of each prompt by itself: their seeds follow each other."""
        for number in range(self.prompts):
            yield replace(self, prompts=1, prompt_seed=self.seed_of_prompt + number)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> "JobSpec":
        """The spec in a run's record."""
        values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in stored.items()}
        return cls(**values)

    @property
    def command(self) -> str:
        """The command that submits this."""
        words = ["skilljobs", "submit"]
        defaults = {item.name: item.default for item in fields(self)}
        for name, value in asdict(self).items():
            if value == defaults[name]:
                continue
            if value is True:
                words.append(option_of(name))
            elif name in ("metric", "by"):
                words += [word for item in value for word in (option_of(name), item)]
            else:
                words += [option_of(name), *(map(str, value) if isinstance(value, tuple | list) else [str(value)])]
        return shlex.join(words)

    def as_json(self) -> dict[str, Any]:
        return dict(json.loads(json.dumps(asdict(self))))

    @property
    def digest(self) -> str:
        """Eight hexadecimal digits of all that is not the default: a new field leaves older runs their names."""
        defaults = JobSpec(data="").as_json() | {"data": None}
        said = {name: value for name, value in self.as_json().items() if value != defaults[name]}
        return stable_digest(json.dumps(said, sort_keys=True), size=4).hex()


def option_of(field: str) -> str:
    """The command-line option of a field."""
    return "--" + field.replace("_", "-")
