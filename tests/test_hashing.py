from skilljobs.hashing import digest_of_many, stable_digest


def test_a_digest_of_many_is_that_of_all_at_once() -> None:
    for parts in ([], [""], ["a", "", 7], [[1, 2], "\x1f", "é"]):
        assert digest_of_many(iter(parts), size=16) == stable_digest(*parts, size=16)
    assert digest_of_many(["ab"]) != digest_of_many(["a", "b"])
