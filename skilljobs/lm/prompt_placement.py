"""The placement of the soft prompt: it must come after the text."""

from skilljobs.errors import InputError

PLACE = "{prompt}"

PLACEMENT_REFUSED = (
    "the soft prompt must come after all of the text: the model is causal, so activations at prompt positions before"
    " some text would not depend on that text (before all of the text, their standard deviation over examples is"
    " exactly 0)"
)


def split_template(template: str | None) -> str | None:
    """Return the template without `{prompt}`, which may only appear at its end.

    Raises:
        InputError: The soft prompt would come before some of the text.
    """
    if template is None or PLACE not in template:
        return template
    text, _, rest = template.partition(PLACE)
    if rest:
        raise InputError(f"--template {template!r}: {PLACEMENT_REFUSED}")
    return text
