"""The columns of the tables that jobs on a finished run write: ablations, effects, shortcuts, and what they share."""

import pyarrow as pa

from skilljobs.store.schema import LAYER, NEURON, TOKEN

_TEXT = pa.string()
_SET = [("metric", _TEXT), ("population", _TEXT), ("set", _TEXT), ("k", pa.int32()), ("draw", pa.int32())]
_CHANGE = [("how", pa.string()), ("at", pa.string())]
_SCORED = [(name, pa.float64()) for name in ("confidence", "margin", "target_logprob")]
ABLATION_SETS = pa.schema([("number", pa.int32()), *_SET, LAYER, *NEURON])
ABLATED_SCORES = pa.schema(
    [
        ("number", pa.int32()),
        ("example_id", pa.string()),
        ("correct", pa.bool_()),
        ("chosen", pa.int32()),
        *_SCORED,
    ]
)
ABLATION = pa.schema(
    [
        ("ablation", pa.string()),
        ("prompt", pa.int16()),
        *_SET,
        *_CHANGE,
        ("group", pa.string()),
        ("n", pa.int64()),
        ("accuracy", pa.float64()),
        *_SCORED,
        ("delta_accuracy", pa.float64()),
        *((f"delta_{name}", kind) for name, kind in _SCORED),
        ("outcome", pa.string()),
        ("ci_low", pa.float64()),
        ("ci_high", pa.float64()),
        ("p", pa.float64()),
        ("controls", pa.int32()),
        ("seen_half1", pa.bool_()),
    ]
)
ABLATION_SCORES = pa.schema(
    [
        ("ablation", pa.string()),
        ("prompt", pa.int16()),
        ("example_id", pa.string()),
        *_SET,
        *_CHANGE,
        ("correct", pa.bool_()),
        *_SCORED,
    ]
)
EFFECTS = pa.schema(
    [
        LAYER,
        *NEURON,
        TOKEN,
        ("group", _TEXT),
        ("n", pa.int64()),
        *((name, pa.float64()) for name in ("effect", "effect_abs", "effect_half0", "effect_half1")),
        *((name, pa.float64()) for name in ("ci_low", "ci_high", "p", "q", "consistency")),
        ("outcome", _TEXT),
        ("prompt", pa.int16()),
    ]
)
EFFECTS_NULL = pa.schema(
    [("outcome", _TEXT), ("prompt", pa.int16()), ("draw", pa.int32()), ("consistency", pa.float64())]
)
"""The largest consistency in the model with each draw of random signs."""
SHORTCUTS = pa.schema(
    [
        ("shortcuts", pa.string()),
        ("prompt", pa.int16()),
        ("metric", pa.string()),
        ("population", pa.string()),
        LAYER,
        *NEURON,
        TOKEN,
        ("seen_half1", pa.bool_()),
        ("property", pa.string()),
        ("kind", pa.string()),
        ("compared_with", pa.string()),
        ("side", pa.string()),
        ("points_to", pa.string()),
        ("alike", pa.list_(pa.string())),
        ("share", pa.float64()),
        ("r_half0", pa.float64()),
        ("r_half1", pa.float64()),
        ("auc_half1", pa.float64()),
        ("p", pa.float64()),
        ("q", pa.float64()),
        ("metric_r_half1", pa.float64()),
        *((f"{name}_{side}", pa.float64()) for name in ("accuracy", "confidence") for side in ("with", "without")),
        ("n_with", pa.int64()),
        ("n_without", pa.int64()),
        *((f"rate{name}", pa.float64()) for name in ("", "_low", "_high", "_detectable")),
        ("silenced", pa.int32()),
        *((f"fall{name}", pa.float64()) for name in ("", "_low", "_high", "_p")),
        *((f"margin_fall{name}", pa.float64()) for name in ("", "_p")),
        ("distance_p", pa.float64()),
        ("controls", pa.int32()),
        *((f"neuron_delta_margin_{side}", pa.float64()) for side in ("with", "without")),
        ("examples_for", pa.list_(pa.string())),
        ("examples_against", pa.list_(pa.string())),
        ("verdict", pa.string()),
        ("reason", pa.string()),
    ]
)
POSITION_MEANS = pa.schema([LAYER, TOKEN, *NEURON, ("place", _TEXT), ("n", pa.int64()), ("sum_a", pa.float64())])
