"""What the page concludes from its runs."""

import torch

from llmnotes.diffusion.ddim import sample
from tests.claims import claimed
from tests.diffusion.ddim.small import seeded, three_parts

STEPS = "diffusion/ddim:steps"
EULER, SECOND = "Euler in ln α", "DPM-Solver++ 2M"


def test_ten_steps_of_the_second_order_are_as_good_as_a_thousand():
    table = claimed(
        STEPS,
        "Ten steps of DPM-Solver++ come within a tenth of all thousand; ten "
        "of DDIM do not. With three steps the second order is hardly ahead.",
        "and the three seeds of either differ by more than that",
        "We had hoped for as much from DDIM itself, and missed it",
    )
    whole, ten = dict(sampler="DDPM"), dict(sampler=SECOND, steps=10)
    gap = table("frechet", **ten) - table("frechet", **whole)
    assert gap / table("frechet", **whole) < 0.1
    for one in (whole, ten):
        assert table("highest", **one) - table("lowest", **one) > gap
    plain = table("frechet", sampler="DDIM", steps=10)
    assert 1.1 < plain / table("frechet", **whole) < 1.3
    three = [table("frechet", sampler=s, steps=3) for s in ("DDIM", SECOND)]
    assert 0 < three[0] - three[1] < 1


def test_few_steps_lose_variety_and_not_legibility():
    table = claimed(
        STEPS,
        "with three steps the classifier reads all of them. It is variety.",
    )
    three, fifty = (
        [table(column, sampler="DDIM", steps=n) for n in (3, 50)]
        for column in ("accuracy", "recall")
    )
    assert min(three) > 0.997
    assert fifty[0] < 0.6 * fifty[1]


def test_ten_steps_take_a_hundredth():
    table = claimed(
        "diffusion/ddim:spent", "so ten steps take about a hundredth:"
    )
    for sampler in ("DDIM", SECOND):
        assert table("lowest", sampler=sampler) > 100
        assert table("highest", sampler=sampler) < 120


def test_new_noise_is_behind_with_few_steps_and_ahead_with_many():
    table = claimed(
        STEPS,
        "from twenty steps on $\\eta = 1$ is ahead, with more digits that "
        "look typical (precision) and fewer kinds of them (recall)",
        "η = 1 came out as expected.",
    )
    for steps in (3, 5, 20, 50):
        quiet, loud = (
            dict(sampler=name, steps=steps)
            for name in ("DDIM", "DDIM with η = 1")
        )
        ahead = table("frechet", **loud) < table("frechet", **quiet)
        assert ahead == (steps >= 20)
        if ahead:
            assert table("precision", **loud) > table("precision", **quiet)
            assert table("recall", **loud) < table("recall", **quiet)


def test_for_a_perfect_guess_new_noise_is_worse_at_every_number():
    table = claimed(
        "diffusion/ddim:gaussian",
        "Few steps make samples too narrow, always",
        "New noise makes it worse at every number of steps.",
    )
    for steps in dict.fromkeys(table.every("steps")):
        wide = [table("deviation", steps=steps, eta=e) for e in (0, 0.5, 1)]
        assert 0.4 > wide[0] > wide[1] > wide[2]


def test_plain_euler_with_fifty_steps_is_behind_ddim_with_five():
    table = claimed(
        STEPS,
        "On digits, which go to the end, the plain Euler with 50 steps is at",
        "The plain Euler is worse than we thought.",
    )
    assert table("lowest", sampler=EULER, steps=50) > table(
        "highest", sampler="DDIM", steps=5
    )


def test_leading_is_behind_and_most_where_steps_are_few():
    table = claimed(
        "diffusion/ddim:spacing",
        "Leading is behind, and by more the fewer steps there are, as "
        "expected. What diffusers makes of linspace costs far more than we "
        "thought",
    )
    behind = [
        table("frechet", spacing="leading", steps=n)
        - table("frechet", spacing="trailing", steps=n)
        for n in (5, 10, 50)
    ]
    assert behind[0] > behind[1] > behind[2] > 0
    for steps in (5, 10):
        theirs = table("frechet", spacing="linspace in diffusers", steps=steps)
        assert theirs > 1.2 * table("frechet", spacing="leading", steps=steps)


def test_clipped_with_the_old_noise_more_steps_are_worse():
    table = claimed(
        "diffusion/ddim:clipping",
        "More steps can be far worse. Look at the middle column",
        "They differ a great deal, and by more the more steps there are.",
    )
    steps = 5, 10, 20, 50, 100
    kept, anew, free = (
        [table("frechet", way=way, steps=n) for n in steps]
        for way in ("clipped and ε kept", "clipped and ε anew", "not clipped")
    )
    gaps = [k - a for k, a in zip(kept, anew, strict=True)]
    assert gaps == sorted(gaps) and kept[-1] > 3 * kept[0]
    assert max(abs(a - f) for a, f in zip(anew, free, strict=True)) < 1


def test_asking_twice_is_better_than_twice_the_steps():
    table = claimed(
        "diffusion/ddim:inversion",
        "With 250 steps and one round the error is",
        "a twelfth of a grey level, which is .125.",
        "A second round saves more than twice the steps, as expected.",
        "And with few steps and one round it is too narrow",
    )
    once = dict(steps=250, rounds=1)
    assert 11.5 < 0.125 / table("rmse", **once) < 12.7
    for fewer, more in ((10, 20), (20, 50), (50, 100), (100, 250)):
        twice = table("rmse", steps=fewer, rounds=2)
        assert twice < table("rmse", steps=more, rounds=1)
    for steps in (10, 20):
        assert table("deviation", steps=steps, rounds=1) < 1


FLOW, CIRCLE = "flow on the line", "v on the circle"
COUNTS = 1, 2, 3, 5, 10, 20, 50


def test_the_flow_is_ahead_at_every_number_of_steps():
    table = claimed(
        "diffusion/ddim:flow",
        "The flow is ahead at every number of steps",
        "The flow is ahead with few steps and with many, as expected. That "
        "steps even on the line suit it and steps even on the circle suit v "
        "is true of ten steps and more for v, and of five steps and fewer "
        "for the flow.",
    )

    def away(model, spacing, steps):
        where = dict(model=model, spacing=f"even on the {spacing}")
        return table("frechet", steps=steps, **where)

    for steps in COUNTS:
        for spacing in ("line", "circle"):
            ahead = away(FLOW, spacing, steps)
            assert ahead < away(CIRCLE, spacing, steps)
        if steps < 3:
            continue  # the same steps either way
        gaps = [
            away(model, "line", steps) - away(model, "circle", steps)
            for model in (FLOW, CIRCLE)
        ]
        assert (gaps[0] < 0) == (steps <= 5)
        assert (gaps[1] > 0) == (steps >= 10)


def test_one_step_draws_means_that_can_be_read():
    table = claimed(
        "diffusion/ddim:flow", "and a mean seven is read as a seven"
    )
    one = dict(model=CIRCLE, spacing="even on the line", steps=1)
    assert table("accuracy", **one) > 0.999 and table("recall", **one) == 0


def test_a_reflow_straightens_and_costs():
    table = claimed(
        "diffusion/ddim:reflow",
        "v and the flow are as crooked as each other, and a reflow leaves a "
        "tenth, as expected. One step then draws what took the flow between "
        "three and five steps; by recall, more than five.",
        "So no: it is the same ODE, as it had to be.",
        "With five steps and more the flow is better as it was",
        "where it drew means at",
    )
    again = "flow after a reflow"
    bent = [
        table("crookedness", model=m, steps=1) for m in (CIRCLE, FLOW, again)
    ]
    assert abs(bent[0] / bent[1] - 1) < 0.03 and 8 < bent[1] / bent[2] < 12
    one = table("frechet", model=again, steps=1)
    flow = {n: table("frechet", model=FLOW, steps=n) for n in COUNTS[:-1]}
    assert flow[3] > one > flow[5]
    recall = table("recall", model=again, steps=1)
    assert recall > table("recall", model=FLOW, steps=5)
    assert table("recall", model=FLOW, steps=1) == 0
    for steps in COUNTS[:-1]:
        better = table("frechet", model=again, steps=steps) < flow[steps]
        assert better == (steps < 5)


def levels(picture):
    """Grey levels from 0 to 15."""
    return torch.tensor([int(letter, 16) for letter in picture]).float()


def test_a_digit_comes_back_and_its_greys_at_250_steps():
    table = claimed(
        "diffusion/ddim:there",
        "the same digit at any number of steps, and to the eye the same "
        "greys at 250",
    )
    for digit in dict.fromkeys(table.every("class")):
        off = []
        for steps in (10, 50, 250):
            where = {"class": digit, "steps": steps}
            gap = levels(table("picture", **where)) - levels(
                table("again", **where)
            )
            off.append(float(gap.square().mean().sqrt()))
        assert off[0] > off[1] > off[2] and off[0] < 3 and off[2] < 0.5


def test_samples_of_one_step_are_means():
    claimed(STEPS, "With one step everybody gets the mean.")
    ends = sample(three_parts(), (50, 1), generator=seeded(), steps=1)
    assert float(ends.std()) < 0.01


def test_one_noise_is_one_digit_without_eta_and_with_it_another_each_time():
    table = claimed(
        "diffusion/ddim:drawn",
        "With η = 0 it is the same digit from three steps on, ever sharper. "
        "With η = 1 the first noise decides little.",
    )
    for digit in dict.fromkeys(table.every("class")):
        for eta in (0.0, 1.0):
            last = levels(
                table("picture", eta=eta, steps=1000, **{"class": digit})
            )
            for steps in (3, 5, 10, 50):
                drawn = table(
                    "picture", eta=eta, steps=steps, **{"class": digit}
                )
                off = (levels(drawn) - last).square().mean().sqrt()
                assert (off < 1) == (eta == 0)
