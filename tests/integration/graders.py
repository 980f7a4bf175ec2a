"""A grader of the kind that users write: it notes each call, and fails where a file asks for it."""

from pathlib import Path

CALLS = Path("calls")


def grade(text: str, skills: list[str], topic: str) -> list[float]:
    assert text
    assert topic
    with CALLS.open("a") as calls:
        calls.write(f"{topic}|{'+'.join(skills)}\n")
    if Path("refuse").exists() and "c" in skills:
        raise ConnectionError("no credit left")
    return [float(skill == "a") for skill in skills]
