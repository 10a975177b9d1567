"""What the page concludes from its runs."""

from tests.claims import claimed

SCALE = "diffusion/guidance:scale"


def test_a_little_guidance_is_nearest():
    table = claimed(
        SCALE,
        "Distance is lowest at 1.25.",
        "But the distance is lowest at 1.25, not at 1, and recall does not "
        "rise again at 8",
        "The accuracy is there; the distance is",
    )
    away = {s: table("frechet", scale=s) for s in table.every("scale")}
    assert min(away, key=away.get) == 1.25
    assert table("frechet_highest", scale=1.25) < table(
        "frechet_lowest", scale=1.0
    )
    assert table("accuracy_lowest", scale=1.25) >= 0.99
    assert table("slowest", scale=1.25) < 60
    assert table("frechet_lowest", scale=1.25) > 2 * table("floor", scale=1.0)


def test_half_a_scale_is_further_than_none_and_the_whole():
    table = claimed(SCALE, "At .5 the distance is larger than at 0 and at 1.")
    for scale in (0.0, 1.0):
        assert table("frechet_lowest", scale=0.5) > table(
            "frechet_highest", scale=scale
        )


def test_recall_pays_and_precision_breaks():
    table = claimed(
        SCALE,
        "it falls until 3 and stays low",
        "Recall pays from the start",
        "Precision rises up to 2 and collapses at 8",
        "Accuracy came out as expected.",
        "and at 8 it falls: the digits break",
    )
    recall = [table("recall", scale=s) for s in (1.0, 1.25, 1.5, 2.0, 3.0)]
    assert recall == sorted(recall, reverse=True)
    assert all(table("recall", scale=s) < 0.65 for s in (3.0, 5.0, 8.0))
    precision = [table("precision", scale=s) for s in (1.0, 1.25, 1.5, 2.0)]
    assert precision == sorted(precision)
    assert table("precision", scale=8.0) < 0.75
    assert table("accuracy", scale=0.0) < 0.13
    assert table("accuracy", scale=1.5) > 0.995
    assert table("accuracy", scale=8.0) < 0.97


def test_the_samplers_meet_their_laws_and_not_the_tilted_density():
    table = claimed(
        "diffusion/guidance:gaussian",
        "DDPM's thousand steps are up to 1.7 % narrower than the law of "
        "infinitely many.",
        "depends on the sampler",
    )
    off = []
    for scale in table.every("scale"):
        for law, run, most in (
            ("drawn", "solved", 0.01), ("noise", "wandered", 0.017),
        ):  # fmt: skip
            std, found = (
                table(f"{kind}_std", scale=scale) for kind in (law, run)
            )
            assert abs(found / std - 1) < most
            off.append(found / std - 1)
    assert min(off) < -0.0155
    for scale in (2.0, 4.0, 8.0):
        stds = [
            table(f"{kind}_std", scale=scale)
            for kind in ("drawn", "noise", "tilted")
        ]
        assert stds == sorted(stds) and stds[0] < 0.9 * stds[1]
