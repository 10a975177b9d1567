"""What the page concludes from its runs."""

import hashlib

import torch
from safetensors import safe_open

from llmnotes.diffusion.ddpm.task import digits
from tests.claims import claimed
from tests.diffusion.guidance import demo

SCALE = "diffusion/guidance:scale"
STRIP, BROWSER = "diffusion/guidance:strip", "diffusion/guidance:browser"


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


def nearest(greys):
    """The class of the real digit that is nearest to a recorded one."""
    (pictures, classes), _ = digits()
    letters = greys.replace(" ", "")
    picture = torch.tensor([int(v, 16) / 7.5 - 1 for v in letters])
    away = (pictures.flatten(1) - picture).norm(dim=1)
    return classes[away.argmin()].item()


def test_the_strip_shows_what_is_said_of_it():
    table = claimed(
        STRIP,
        "In the row of scale 0 they are other digits than those asked for, "
        "but for one. From 1 on each is the one asked for.",
    )
    right = {
        scale: [
            nearest(table("greys", scale=scale, digit=n)) == n
            for n in range(10)
        ]
        for scale in (0.0, 1.0, 2.0, 3.0, 4.0, 8.0)
    }
    assert sum(right.pop(0.0)) == 1
    assert all(all(row) for row in right.values())


def test_what_the_browser_draws_is_nearly_always_as_asked_for():
    table = claimed(
        BROWSER, "So small a network draws what it is asked for, too"
    )
    for scale in (1.5, 2.0, 3.0, 4.0):
        assert table("accuracy", scale=scale) > 0.99
    assert table("accuracy", scale=0.0) < 0.2


def test_the_demos_weights_are_those_that_the_bench_wrote():
    table, kept = claimed(BROWSER), demo.FILE.read_bytes()
    assert {len(kept)} == set(table.every("bytes"))
    assert {hashlib.sha256(kept).hexdigest()} == set(table.every("sha256"))
    with safe_open(demo.FILE, "pt") as file:
        assert file.metadata()["bench"] == "bench_what_the_browser_draws"
        weights = [file.get_tensor(name) for name in file.keys()]
    assert {w.dtype for w in weights} == {torch.half}
    assert {sum(w.numel() for w in weights)} == set(table.every("weights"))
    assert len(kept) < 270_000


def test_the_demos_weights_draw_the_strip_again():
    table = claimed(STRIP)
    small, _ = demo.read()
    for scale in (0.0, 3.0):
        drawn = demo.greys(demo.drawn(small, scale))
        for digit, greys in enumerate(drawn):
            kept = table("greys", scale=scale, digit=digit)
            pairs = zip(greys.split(), kept.split(), strict=True)
            off = [
                abs(int(a, 16) - int(b, 16))
                for pair in pairs
                for a, b in zip(*pair, strict=True)
            ]
            assert max(off) <= 1 and sum(off) <= 2
