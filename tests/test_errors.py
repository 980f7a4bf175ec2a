"""What a failed job says."""

from skilljobs.errors import JobFailed


def test_what_is_kept_is_said_once_with_what_helps() -> None:
    kept = JobFailed("a scorer died").keeping("3 of 5 shards are committed in RUN")
    assert str(kept) == "a scorer died; 3 of 5 shards are committed in RUN: the same command resumes"
    assert kept.keeping("what is committed is kept") is kept
    assert str(JobFailed("the scores differ", "").keeping("nothing is lost")) == "the scores differ; nothing is lost"
