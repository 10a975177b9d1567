"""What the page concludes from its runs."""

from tests.claims import claimed

WAYS = "adaptation/rlhf:ways"
BEST = "adaptation/rlhf:best_of"
DPO = "adaptation/rlhf:dpo"
HACKING = "adaptation/rlhf:hacking"


def test_imitation_copies_the_mistake_and_could_do_better():
    table = claimed(
        BEST,
        "not far above the 31 % of problems in which nothing is carried",
        "which is worse than a single draw",
        "Yet the right one is among the sixteen nearly always.",
        "the reward model does better with 16 answers than with 4, and a "
        "vote is better than the likeliest answer, though it gets worse as "
        "more answers vote",
        "With four answers the reward model is nearly as good a judge as the "
        "checker. With sixteen it falls behind",
    )
    likeliest, few, many = (
        table("right", way=way)
        for way in ("likeliest", "vote of 4", "vote of 16")
    )
    assert 0.31 < likeliest < 0.4 and likeliest < many < few
    assert few < table("right", way="one sampled")
    model, checker = (
        [table("right", way=f"best of {n} by the {who}") for n in (4, 16)]
        for who in ("reward model", "checker")
    )
    assert checker[1] > 0.98 and model[0] < model[1]
    assert checker[0] - model[0] < 0.02 < 0.04 < checker[1] - model[1]


def test_nothing_is_carried_in_31_of_100():
    table = claimed(
        "adaptation/rlhf:problems",
        "the 31 % of problems in which nothing is carried",
    )
    problems, carried = (
        table(column, part="held out") for column in ("problems", "carried")
    )
    assert 0.3 < 1 - carried / problems < 0.315


def test_the_simplest_way_wins():
    table = claimed(
        WAYS,
        "REINFORCE is as good as GRPO within its spread, DPO comes to .95 "
        "with pairs of the policy's own, and to keep what is right is not as "
        "good as any but better.",
        "By sampled answers that is ahead of GRPO by more than the seeds are "
        "apart, with about as many answers drawn, 16,000, and in less time. "
        "By their likeliest answers both are right in 99.9 %.",
        "its seeds lie further apart",
        "ends ten points behind",
    )
    keep, grpo = dict(way="keep what is right"), dict(way="GRPO")
    assert table("lowest", **keep) > table("highest", **grpo)
    assert table("seconds", **keep) < table("seconds", **grpo)
    other = dict(way="REINFORCE")
    assert table("lowest", **other) < table("sampled", **grpo)
    assert table("sampled", **grpo) < table("highest", **other)
    assert f"{table('sampled', way='DPO'):.2f}" == "0.95"
    ppo = table("sampled", way="reward model and PPO")
    assert 0.095 < table("sampled", **keep) - ppo < 0.105
    for way in (keep, grpo):
        assert f"{table('greedy', **way):.1%}" == "99.9%"

    def apart(way):
        return table("highest", **way) - table("lowest", **way)

    assert apart(other) > 5 * apart(grpo)


def test_groups_die_and_dividing_by_the_spread_is_a_tie():
    table = claimed(
        "adaptation/rlhf:variants",
        "Half of the groups are dead in the first ten steps, nine in ten at "
        "the end, and whether the spread divides is a tie.",
    )
    for way in ("GRPO", "GRPO without the spread"):
        assert 0.45 < table("early", way=way) < 0.55
        assert 0.9 < table("late", way=way) < 0.93
    low, high = (
        table(end, way="GRPO without the spread")
        for end in ("lowest", "highest")
    )
    assert low < table("sampled", way="GRPO") < high


def test_the_reward_model_knows_what_it_has_seen():
    table = claimed(
        "adaptation/rlhf:reward_model",
        "A wrong unit it does not see at all. A wrong hundred it sees in 82 %",
    )

    def right(what):
        return table("right", against=what)

    assert right("all carries forgotten") > 0.995
    assert abs(right("a wrong unit") - 0.5) < 0.02
    assert 0.6 < right("a wrong ten") < right("a wrong hundred") < 0.9


def test_reward_rises_and_answers_get_worse_and_kl_holds_them():
    table = claimed(
        HACKING,
        "β = 0.5 is too little: it does not even hold what was reached in "
        "ten steps",
        "Without a leash, or with β = 0.5, more reward is better for ten "
        "steps and then worse; with 1 and 2 it stays better.",
    )
    for beta in (0.0, 0.5):
        first, tenth, last = (
            table("right", beta=beta, step=step) for step in (0, 10, 50)
        )
        assert first < tenth and last < tenth
    for beta in (1.0, 2.0):
        tenth, last = (table("right", beta=beta, step=s) for s in (10, 50))
        assert tenth < last
    assert table("right", beta=0.0, step=50) < 0.15
    assert table("reward", beta=0.0, step=50) > 4
    assert table("right", beta=2.0, step=50) > 0.88
    reward = [table("reward", beta=b, step=50) for b in (0.0, 0.5, 1.0, 2.0)]
    assert reward == sorted(reward, reverse=True)


def test_what_a_hacker_writes():
    table = claimed(
        "adaptation/rlhf:hacked_answers",
        "are too large: `52+33=690`, which is 96",
        "`77+67=431`, which is 134 and ten too few",
    )
    for answer in ("52+33=690", "77+67=431"):
        assert table("right", answer=answer) == 0


def test_dpo_fails_while_its_loss_falls():
    table = claimed(
        DPO,
        "the chosen loses 10 nats and not 20; a larger β alone does not mend "
        "it, and the likelihood of the chosen does so in part",
        "a fifth of the rate and two passes over the pairs instead of three, "
        "the chosen gain, and three of four samples are right",
        "but two of three without one do not",
        "Now DPO works at a rate that is twice the one that failed.",
    )
    failed = dict(way="DPO β=0.1")
    assert table("loss", **failed) < 0.2 and table("sampled", **failed) < 0.02
    assert -11 < table("chosen", **failed) < -9
    assert table("sampled", way="DPO β=0.5", rate=5e-4) < 0.1
    slow = dict(way="DPO β=0.5", rate=1e-4)
    assert table("chosen", **slow) > 0 and table("sampled", **slow) > 0.75
    mended = dict(way="DPO and NLL β=0.1")
    assert table("chosen", **mended) > 0 and table("carried", **mended) > 0.99
    assert 0.3 < table("plain", **mended) < 0.36
    own = dict(way="DPO on its own pairs β=1", rate=1e-3)
    assert table("plain", **own) > 0.99 and table("carried", **own) > 0.97


def test_k1_scatters_and_k3_pulls_elsewhere():
    table = claimed(
        "adaptation/rlhf:kl",
        "Near the start, k1 scatters by 23 times what it estimates.",
        "2 % near the start, 38 % at one nat",
    )
    near, _, far = sorted(set(table.every("kl")))
    assert round(table("deviation", estimator="k1", kl=near)) == 23
    assert 0.02 < table("as_loss", estimator="k3", kl=near) < 0.025
    assert 0.375 < table("as_loss", estimator="k3", kl=far) < 0.385
    for kl in (near, far):
        assert table("as_loss", estimator="k3 with the ratio", kl=kl) < 1e-6
        assert table("in_reward", estimator="k1", kl=kl) < 1e-6


def test_blame_for_each_digit_leads_for_a_while():
    table = claimed(
        "adaptation/rlhf:process",
        "The lead is small and short, 0.03 at step 20, no more than the seeds "
        "differ there.",
    )
    whole, digits = "the whole answer", "each digit its own"
    lead = [
        table("right", reward=digits, step=step)
        - table("right", reward=whole, step=step)
        for step in (20, 130)
    ]
    assert 0.025 < lead[0] < 0.035 and abs(lead[1]) < 0.005
    lowest, highest = (
        table(end, reward=whole, step=20) for end in ("lowest", "highest")
    )
    assert highest - lowest > lead[0]


def test_a_token_of_a_long_answer_counts_less_in_grpo_alone():
    table = claimed(
        "adaptation/rlhf:token_weights",
        "a token of a long answer counts less",
    )
    for name in ("dapo", "bnpo", "dr_grpo"):
        short, long = (table(c, average=name) for c in ("short", "long"))
        assert abs(short - long) < 1e-9
    assert table("short", average="grpo") > 15 * table("long", average="grpo")


def test_on_its_own_pairs_dpo_works_in_all_seeds():
    table = claimed(
        "adaptation/rlhf:dpo_seeds",
        "of the likeliest answers are right, and right answers become "
        "likelier by a nat",
    )
    for seed in (0, 1, 2):
        assert table("greedy", seed=seed) > 0.97
        assert table("sampled", seed=seed) > 0.95
        assert 0.98 < table("chosen", seed=seed) < 1.02


def test_the_rarer_kind_of_answer_moves_more():
    table = claimed(
        "adaptation/rlhf:group", "The rarer kind moves more: here the wrong"
    )
    rewards, moved = table.every("reward"), table.every("advantage")
    assert rewards.count(1.0) == 5 and rewards.count(0.0) == 3
    assert max(moved) > 0 > min(moved) and -min(moved) > max(moved)
