"""What travels to a scorer of an ablation, without torch."""

from dataclasses import dataclass

from skilljobs.plan.ablation_spec import Rule
from skilljobs.tasks.base import Example


@dataclass(frozen=True)
class AblationWork:
    """The ablation that a scorer works for."""

    job_id: str
    """Unique for each time that a job works on it: a scorer keeps nothing of an ablation beyond it."""
    uri: str
    """The run's directory."""
    run_id: str
    run_fingerprint: str
    inside: str
    """The folder of its sets and shards in the run."""
    means: str
    """The file of the run with the means that neurons are set to, where they are."""
    rule: Rule
    everywhere: bool
    """Whether neurons are silenced in texts and answers too."""
    texts_are_complete: bool
    """Whether texts bring all of their special tokens, as those of a chat template do."""
    answer_end: str | None
    batch_tokens: int
    left_out: frozenset[str]
    """The examples that the run has set aside, by id."""


@dataclass(frozen=True)
class ShardToAblate:
    """A shard, the fingerprint that it is committed under, and who lends activations to each of its examples."""

    shard: int
    fingerprint: str
    donors: dict[str, Example]
    """With `--how resample`: by id, the example whose activations an example is given; otherwise empty."""
