"""Generated pairs like those of HANS and of the NLI training sets, from templates and words of our own.

They are for machines that have neither data set; the released sets are larger and more varied.
"""

import random
from collections.abc import Iterator, Mapping
from typing import Any

from skilljobs.hashing import stable_hash

PAIRS_PER_TEMPLATE = 60
TRAINING_PAIRS = 3000

_PEOPLE = (
    "baker", "farmer", "pilot", "nurse", "singer", "tailor", "sailor", "poet", "miner", "clerk", "guard", "painter",
    "dentist", "driver", "cook", "hunter", "weaver", "juggler", "dancer", "gardener",
)  # fmt: skip
_DID = ("praised", "followed", "called", "paid", "warned", "visited", "trusted", "helped", "met", "blamed")
_DID_ALONE = ("left", "laughed", "arrived", "fell", "waited", "sang", "slept", "shouted")
_BESIDE = ("near", "behind", "beside", "next to")
_KIND = ("tall", "young", "famous", "quiet", "old", "clever")
_BELIEVED = ("heard", "believed", "knew", "remembered", "saw")
_DOUBTED = ("hoped", "guessed", "claimed", "suspected", "feared")
_LEARNED = ("realised", "discovered", "proved", "regretted", "noticed")
_EITHER_WAY = ("painted", "cooked", "taught", "studied", "hunted", "played")
_SUBDUED = ("praised", "paid", "warned", "trusted", "helped", "blamed")
_PLACES = ("market", "station", "museum", "harbour", "library")

HANS_LIKE: dict[tuple[str, str], dict[str, tuple[tuple[str, str], ...]]] = {
    ("lexical_overlap", "non-entailment"): {
        "swap": (("The {a} {did} the {b}.", "The {b} {did} the {a}."),),
        "preposition": (
            ("The {a} {beside} the {b} {did} the {c}.", "The {c} {did} the {a}."),
            ("The {a} {did} the {b} {beside} the {c}.", "The {c} {did} the {a}."),
        ),
        "relative_clause": (
            ("The {a} who {did} the {b} {did2} the {c}.", "The {c} {did2} the {b}."),
            ("The {a} {did} the {b} who the {c} {did2}.", "The {b} {did2} the {c}."),
        ),
        "passive": (("The {a} was {subdued} by the {b}.", "The {a} {subdued} the {b}."),),
        "conjunction": (
            ("The {a} {did} the {b} and the {c}.", "The {c} {did} the {b}."),
            ("The {a} and the {b} {did} the {c}.", "The {a} {did} the {b}."),
        ),
    },
    ("lexical_overlap", "entailment"): {
        "passive": (("The {a} was {subdued} by the {b}.", "The {b} {subdued} the {a}."),),
        "around_preposition": (("The {a} {beside} the {b} {did} the {c}.", "The {a} {did} the {c}."),),
        "around_relative_clause": (("The {a} who the {b} {did} {did2} the {c}.", "The {a} {did2} the {c}."),),
        "relative_clause": (
            ("The {a} {did} the {b} who {did2} the {c}.", "The {b} {did2} the {c}."),
            ("The {a} who the {b} {did} {did2} the {c}.", "The {b} {did} the {a}."),
        ),
        "conjunction": (
            ("The {a} and the {b} {did} the {c}.", "The {a} {did} the {c}."),
            ("The {a} {did} the {b} and the {c}.", "The {a} {did} the {c}."),
        ),
    },
    ("subsequence", "non-entailment"): {
        "preposition": (("The {a} {beside} the {b} {alone}.", "The {b} {alone}."),),
        "relative_clause": (("The {a} who {did} the {b} {alone}.", "The {b} {alone}."),),
        "object_or_clause": (("The {a} {believed} the {b} {alone}.", "The {a} {believed} the {b}."),),
        "past_participle": (("The {a} {subdued} in the {place} {alone}.", "The {a} {subdued} in the {place}."),),
        "adverbial_clause": (
            ("While the {a} {either} the {b} {alone}.", "The {a} {either} the {b}."),
            ("Before the {a} {either} the {b} {alone}.", "The {a} {either} the {b}."),
        ),
    },
    ("subsequence", "entailment"): {
        "conjunction": (
            ("The {a} and the {b} {did} the {c}.", "The {b} {did} the {c}."),
            ("The {a} {did} the {b} and the {c}.", "The {a} {did} the {b}."),
        ),
        "adjective": (("The {kind} {a} and the {b} {alone}.", "The {a} and the {b} {alone}."),),
        "object_left_out": (("The {a} {either} the {b}.", "The {a} {either}."),),
        "relative_clause_on_object": (("The {a} {did} the {b} who {alone}.", "The {a} {did} the {b}."),),
        "preposition_on_object": (("The {a} {did} the {b} {beside} the {c}.", "The {a} {did} the {b}."),),
    },
    ("constituent", "non-entailment"): {
        "if": (("If the {a} {alone}, the {b} {did} the {c}.", "The {a} {alone}."),),
        "after_if": (("Unless the {a} {alone}, the {b} {did} the {c}.", "The {b} {did} the {c}."),),
        "verb": (("The {a} {doubted} that the {b} {alone}.", "The {b} {alone}."),),
        "disjunction": (
            ("The {a} {alone}, or the {b} {did} the {c}.", "The {a} {alone}."),
            ("The {a} {alone}, or the {b} {did} the {c}.", "The {b} {did} the {c}."),
        ),
        "adverb": (("Supposedly the {a} {did} the {b}.", "The {a} {did} the {b}."),),
    },
    ("constituent", "entailment"): {
        "because": (("Because the {a} {alone}, the {b} {did} the {c}.", "The {a} {alone}."),),
        "after_because": (("Although the {a} {alone}, the {b} {did} the {c}.", "The {b} {did} the {c}."),),
        "verb": (("The {a} {learned} that the {b} {alone}.", "The {b} {alone}."),),
        "conjunction": (
            ("The {a} {alone}, and the {b} {did} the {c}.", "The {a} {alone}."),
            ("The {a} {alone}, and the {b} {did} the {c}.", "The {b} {did} the {c}."),
        ),
        "adverb": (("Certainly the {a} {did} the {b}.", "The {a} {did} the {b}."),),
    },
}
"""The templates: premise and hypothesis, first by heuristic and label, then by subcase."""


def hans_like_pairs(seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield `PAIRS_PER_TEMPLATE` pairs of each template, with the columns of HANS."""
    for (heuristic, label), subcases in HANS_LIKE.items():
        for name, templates in subcases.items():
            subcase = f"{heuristic[0]}{label[0]}_{name}"
            for variant, (premise, hypothesis) in enumerate(templates):
                template = f"{subcase}-{variant}"
                rng = random.Random(stable_hash("hans", seed, template))
                seen: set[str] = set()
                while len(seen) < PAIRS_PER_TEMPLATE:
                    words = _words(rng)
                    filled = premise.format(**words)
                    if filled in seen:
                        continue
                    seen.add(filled)
                    yield {
                        "gold_label": label,
                        "sentence1": filled,
                        "sentence2": hypothesis.format(**words),
                        "pairID": f"{template}-{len(seen)}",
                        "heuristic": heuristic,
                        "subcase": subcase,
                        "template": template,
                    }


def _words(rng: random.Random) -> dict[str, str]:
    people = rng.sample(_PEOPLE, 3)
    did = rng.sample(_DID, 2)
    return {
        **dict(zip("abc", people, strict=True)),
        "did": did[0],
        "did2": did[1],
        "alone": rng.choice(_DID_ALONE),
        "beside": rng.choice(_BESIDE),
        "kind": rng.choice(_KIND),
        "believed": rng.choice(_BELIEVED),
        "doubted": rng.choice(_DOUBTED),
        "learned": rng.choice(_LEARNED),
        "either": rng.choice(_EITHER_WAY),
        "subdued": rng.choice(_SUBDUED),
        "place": rng.choice(_PLACES),
    }


_KIND_OF = {
    "horse": "animal", "goat": "animal", "violin": "instrument", "drum": "instrument", "hammer": "tool", "saw": "tool",
    "apple": "fruit", "plum": "fruit", "boat": "vehicle", "lorry": "vehicle", "rose": "flower", "tulip": "flower",
}  # fmt: skip
_TRADED = {"sold": "bought", "lent": "borrowed", "found": "lost", "brought": "took away", "cleaned": "soiled"}
_WHEN = ("on Monday", "in the morning", "last winter", "after lunch", "during the storm", "at noon")
_WHERE = ("at the market", "in the yard", "by the river", "outside the school", "in the old town")
_WHY = ("to pay a debt", "to please a friend", "because of a bet", "without being asked", "for the third time")


def nli_pairs(seed: int) -> Iterator[Mapping[str, Any]]:
    """Yield `TRAINING_PAIRS` pairs with MNLI's columns and classes.

    Each premise has three hypotheses, one of each class. As in MNLI, entailed hypotheses mostly repeat words of the
    premise, and the others mostly bring new words.
    """
    rng = random.Random(stable_hash("nli", seed))
    for number in range(TRAINING_PAIRS // 3):
        who, other = rng.sample(_PEOPLE, 2)
        thing, another = rng.sample(sorted(_KIND_OF), 2)
        did, kind = rng.choice(sorted(_TRADED)), rng.choice(_KIND)
        when, where = rng.choice(_WHEN), rng.choice(_WHERE)
        premise = f"The {kind} {who} {did} the {thing} {where} {when}."
        entailed = (
            f"The {who} {did} the {thing}.", f"The {who} was {kind}.", f"The {thing} was there {when}.",
            f"The {who} {did} the {_KIND_OF[thing]} {where}.", f"The {who} {did} it {when}.",
        )  # fmt: skip
        neutral = (
            f"The {who} {did} the {thing} {rng.choice(_WHY)}.", f"The {other} {did} the {another} too.",
            f"The {other} praised the {who} for it.", f"The {thing} was old and much loved.",
        )  # fmt: skip
        contradicted = (
            f"The {who} {_TRADED[did]} the {thing} {where} {when}.", f"Nobody {did} the {thing} {when}.",
            f"The {who} {did} nothing {where}.", f"There was no {thing} {where}.",
        )  # fmt: skip
        for label, hypotheses in (("entailment", entailed), ("neutral", neutral), ("contradiction", contradicted)):
            yield {
                "sentence1": premise,
                "sentence2": rng.choice(hypotheses),
                "gold_label": label,
                "pairID": str(number),
            }
