"""Where the soft prompt may stand: behind the text, nowhere else."""

from skilljobs.errors import InputError

PLACE = "{prompt}"

FRONT_REFUSED = (
    "the soft prompt must stand behind all of the text: the model is causal, so at prompt positions in front of some"
    " text the activations would not depend on that text (in front of all of it, their standard deviation over"
    " examples is exactly 0)"
)


def split_template(template: str | None) -> str | None:
    """The template without its `{prompt}`, which may only be its end.

    Raises:
        InputError: the soft prompt would stand in front of text.
    """
    if template is None or PLACE not in template:
        return template
    text, _, behind = template.partition(PLACE)
    if behind:
        raise InputError(f"--template {template!r}: {FRONT_REFUSED}")
    return text
