"""What the RLHF chapter measures: ways to learn from a reward, and hacking."""

import statistics

import pytest
import torch

from llmnotes.adaptation.rlhf import (
    divergence,
    group_advantages,
    k1,
    k2,
    k3,
    kl_penalty,
    per_answer,
    per_limit,
    per_token,
    sample,
)
from llmnotes.adaptation.rlhf.preferences import (
    best_of,
    pairs,
    ranked,
    vote,
)
from llmnotes.adaptation.rlhf.runs import generator
from llmnotes.adaptation.rlhf.task import (
    carries,
    checker,
    forgetful,
    right,
    spelled,
    written,
)
from tests import contests
from tests.adaptation.rlhf import answer_runs, starts

SEEDS = (0, 1, 2)
RATES = {
    "keep what is right": (1e-3, 3e-3, 1e-2),
    "GRPO": (5e-4, 1.5e-3, 5e-3),
    "REINFORCE": (1.5e-3, 5e-3, 1.5e-2),
    "reward model and PPO": (3e-4, 1e-3, 3e-3),
    "DPO": (1e-3, 3e-3, 1e-2),
}
NO_RANKING = "No ranking: "


def columns_of(reports):
    """Columns of numbers, seed by seed, out of a report for each seed."""
    return list(zip(*reports, strict=True))


def spread_of(values):
    """Mean, least and most of some seeds."""
    return statistics.mean(values), min(values), max(values)


def best_rates():
    """{(way,): the rate that was best on problems no report uses}."""
    found = {}
    for way, rates in RATES.items():
        found |= contests.tuned(
            answer_runs.chosen, {(way,): [(way,)]}, rates, max
        )
    return found


def reports(ways_and_rates):
    """{way: what its three seeds reported}."""
    jobs = {w: [(w, r, s) for s in SEEDS] for w, r in ways_and_rates.items()}
    found = contests.runs(answer_runs.reported, sum(jobs.values(), []))
    return {way: [found[job] for job in jobs[way]] for way in jobs}


@pytest.mark.trained
def bench_ways_to_mend_what_was_imitated(record):
    best = best_rates()
    found = reports({way: rate for (way,), rate in best.items()})
    rows = []
    for way, said in found.items():
        sampled, greedy, carried, kl, seconds = columns_of(
            [one[:5] for one in said]
        )
        rows.append(
            (way, best[way,], *spread_of(sampled), statistics.mean(greedy),
             min(greedy), statistics.mean(carried), statistics.mean(kl),
             statistics.mean(seconds))
        )  # fmt: skip
    said = contests.race(
        (), best, dict.fromkeys(RATES, "the policy that has imitated"),
        baseline="keep what is right", column="way",
        chosen_on="500 problems held out, seed 100",
        reported_on="1,500 other problems held out, seeds 0 to 2",
    )  # fmt: skip
    said["rates"] = {
        way: {"tried": list(RATES[way]), "best": rate}
        for (way,), rate in best.items()
    }
    record(
        "ways",
        kind="trained",
        seeds=SEEDS,
        spread={"rate": None, "sampled": 0.05, "lowest": None,
                "highest": None, "greedy": 0.05, "greedy_lowest": None,
                "carried": 0.06, "kl": 0.4, "seconds": None},
        race=said,
        title="Ways to mend what was imitated: right answers to problems "
        "held out",
        prediction=(
            "With the checker GRPO reaches .97; REINFORCE, whose baseline "
            "knows no groups, stays behind it. The reward model's mistakes "
            "cost PPO ten points, and DPO's sampled answers stay near .75. "
            "To keep right answers and imitate them is as good as any."
        ),
        columns={"way": "", "rate": "", "sampled": "", "lowest": "",
                 "highest": "", "greedy": "", "greedy_lowest": "",
                 "carried": "", "kl": "nat", "seconds": "s"},
        labels={
            "rate": "best rate", "sampled": "sampled answers right",
            "lowest": "worst seed", "highest": "best seed",
            "greedy": "likeliest answers right",
            "greedy_lowest": "worst seed, likeliest",
            "carried": "likeliest, where something is carried",
            "kl": "KL from the start", "seconds": "CPU time",
        },
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_what_imitation_learned_and_the_best_of_n(record):
    policy, judge = starts.policy(), starts.reward_model()
    prompts, rows = starts.REPORT, []
    start = answer_runs.judged(policy, 0)
    rows.append(("one sampled", start[0], None, None))
    rows.append(("likeliest", start[1], None, None))
    for n in (4, 16):
        ways = {
            f"best of {n} by the reward model": lambda seed, n=n: best_of(
                policy, prompts, judge, seed, n
            ),
            f"best of {n} by the checker": lambda seed, n=n: best_of(
                policy, prompts, checker, seed, n
            ),
            f"vote of {n}": lambda seed, n=n: vote(policy, prompts, seed, n),
        }
        for way, run in ways.items():
            found = [checker(prompts, run(s)).mean().item() for s in SEEDS]
            rows.append((way, *spread_of(found)))
    record(
        "best_of",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.05, "lowest": None, "highest": None},
        example=NO_RANKING + "nothing is trained; the checker knows the "
        "answers.",
        title="Right answers of the policy that has imitated, when it may "
        "answer several times",
        prediction=(
            "One in two sampled answers is right; the likeliest repeats the "
            "mistake that most demonstrators make, and so does a vote. The "
            "reward model picks the right one of 4 in 90 %, and since it "
            "can be fooled, no more of 16."
        ),
        columns={"way": "", "right": "", "lowest": "", "highest": ""},
        labels={"right": "right, mean of 3 draws", "lowest": "lowest",
                "highest": "highest"},
        rows=rows,
    )  # fmt: skip


def changed(answers, place):
    """Another digit at a place, any of the nine."""
    draw = generator(3, place)
    shift = torch.randint(1, 10, (len(answers),), generator=draw)
    answers = answers.clone()
    answers[:, place] = (answers[:, place] + shift) % 10
    return answers


def half_forgetful(prompts):
    """Answers that lose the carry into the tens and keep the hundred."""
    answers = right(prompts)
    answers[:, 1] = forgetful(prompts)[:, 1]
    return answers


@pytest.mark.trained
def bench_what_the_reward_model_knows(record):
    judge, prompts = starts.reward_model(), starts.REPORT
    truth, half = right(prompts), half_forgetful(prompts)
    differs = (half != truth).any(1) & (half != forgetful(prompts)).any(1)
    pools = {
        "all carries forgotten": pairs(prompts),
        "one of two carries forgotten": (
            prompts[differs], truth[differs], half[differs]
        ),
        "a wrong unit": (prompts, truth, changed(truth, 0)),
        "a wrong ten": (prompts, truth, changed(truth, 1)),
        "a wrong hundred": (prompts, truth, changed(truth, 2)),
    }  # fmt: skip
    record(
        "reward_model",
        kind="trained",
        seeds=(starts.SEED,),
        spread={"pairs": None, "right": 0.1},
        example=NO_RANKING + "one reward model, asked several questions.",
        title="How often the reward model prefers the right answer to a "
        "wrong one, on problems held out",
        prediction=(
            "Nearly always where it has seen such pairs. A single wrong "
            "digit it has never seen: there it guesses, .5."
        ),
        columns={"against": "", "pairs": "", "right": ""},
        labels={"against": "the right answer against",
                "right": "preferred"},
        rows=[
            (name, len(pool[0]), ranked(judge, *pool))
            for name, pool in pools.items()
        ],
    )  # fmt: skip


@pytest.mark.trained
def bench_a_group_of_answers(record):
    problem = written(torch.tensor([37]), torch.tensor([48]))
    prompts = problem.expand(8, -1)
    answers = sample(starts.policy(), prompts, 3, generator=generator(0))
    rewards = checker(prompts, answers)
    advantages = group_advantages(rewards[None])[0]
    texts = [spelled(answer) for answer in answers]
    record(
        "group",
        kind="trained",
        seeds=(0,),
        spread={"reward": None, "advantage": None},
        example=NO_RANKING + "eight answers to look at.",
        title="One problem, eight answers of the policy that has imitated, "
        "and what GRPO makes of them",
        prediction="Four in ten are right, and most others forget to carry.",
        columns={"problem": "", "answer": "", "reward": "", "advantage": ""},
        labels={"answer": "answer, units first"},
        rows=list(
            zip([spelled(prompts[0])] * 8, texts, rewards.tolist(),
                advantages.tolist(), strict=True)
        ),
    )  # fmt: skip


HACKING, HACKING_RATE = (0.0, 0.5, 1.0, 2.0), 1e-3


@pytest.mark.trained
def bench_the_reward_rises_while_the_answers_get_worse(record):
    jobs = [(b, HACKING_RATE, s) for b in HACKING for s in SEEDS]
    found = contests.runs(answer_runs.hacked, jobs)
    rows = []
    for beta in HACKING:
        curves = [found[beta, HACKING_RATE, s][0] for s in SEEDS]
        for i, looks in enumerate(zip(*curves, strict=True)):
            paid, share, kl = columns_of(looks)
            rows.append(
                (beta, i * 10, statistics.mean(paid), min(paid), max(paid),
                 *spread_of(share), statistics.mean(kl))
            )  # fmt: skip
    record(
        "hacking",
        kind="trained",
        seeds=SEEDS,
        spread={"reward": 2.0, "reward_lowest": None, "reward_highest": None,
                "right": 0.15, "lowest": None, "highest": None, "kl": 8.0},
        example=NO_RANKING + "every price is shown at the same rate, since "
        "the question is what the price buys.",
        title="What the reward model pays, and how many answers are right, "
        "while PPO learns",
        prediction=(
            "Without a price for KL the reward rises by 4 and more while "
            "nearly all right answers are lost, some 20 nats away. At β = 2 "
            "the reward rises less and the answers become right."
        ),
        columns={"beta": "", "step": "", "reward": "", "reward_lowest": "",
                 "reward_highest": "", "right": "", "lowest": "",
                 "highest": "", "kl": "nat"},
        labels={"beta": "β", "reward": "reward by the model",
                "reward_lowest": "lowest reward",
                "reward_highest": "highest reward",
                "right": "sampled answers right", "lowest": "worst seed",
                "highest": "best seed", "kl": "KL from the start"},
        rows=rows,
    )  # fmt: skip
    samples = found[0.0, HACKING_RATE, 0][1]
    record(
        "hacked_answers",
        kind="trained",
        seeds=(0,),
        spread={"right": 0.5},
        example=NO_RANKING + "a few answers to look at.",
        title="What a policy writes that has learned to please the reward "
        "model without a price for KL",
        prediction="Large numbers: they are what the reward model likes.",
        columns={"answer": "", "right": ""},
        labels={"answer": "problem and answer, units first",
                "right": "is it right"},
        rows=[(text, float(is_right(text))) for text in samples],
    )  # fmt: skip


def is_right(text):
    """Whether `37+48=580` is, units first."""
    problem, answer = text.split("=")
    a, b = problem.split("+")
    return int(a) + int(b) == int(answer[::-1])


DPO_RUNS = (
    ("DPO", 0.1, 5e-4, 3),
    ("DPO", 0.5, 5e-4, 3),
    ("DPO", 0.5, 1e-4, 2),
    ("DPO", 1.0, 1e-4, 2),
    ("DPO and NLL", 0.1, 5e-4, 3),
    ("DPO on its own pairs", 1.0, 1e-3, 2),
)


@pytest.mark.trained
def bench_dpo_fails_while_its_loss_falls(record):
    jobs = [(*run, 0) for run in DPO_RUNS]
    found = contests.runs(answer_runs.margins, jobs)
    rows = []
    for run in DPO_RUNS:
        kind, beta, rate, passes = run
        *said, _, plain = found[*run, 0]
        rows.append((f"{kind} β={beta:g}", rate, passes, *said, plain))
    record(
        "dpo",
        kind="trained",
        seeds=(0,),
        spread={"loss": 0.1, "chosen": 6.0, "rejected": 8.0, "sampled": 0.2,
                "greedy": 0.3, "carried": 0.3, "plain": 0.3},
        example=NO_RANKING + "settings that fail beside settings that do "
        "not, one seed.",
        title="DPO: the loss, and what became of right and of forgetful "
        "answers",
        prediction=(
            "At β = 0.1 and a rate of 5e-4 the loss falls to .2 while both "
            "answers become unlikely, the chosen by 20 nats: nothing is "
            "right any more. A larger β, a smaller rate or the likelihood "
            "of the chosen beside it mend that."
        ),
        columns={"way": "", "rate": "", "passes": "", "loss": "",
                 "chosen": "nat", "rejected": "nat", "sampled": "",
                 "greedy": "", "carried": "", "plain": ""},
        labels={"loss": "loss at the end",
                "chosen": "right answers' log-probability has changed by",
                "rejected": "forgetful ones'",
                "sampled": "sampled answers right",
                "greedy": "likeliest right",
                "carried": "likeliest, where something is carried",
                "plain": "sampled, where nothing is carried"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_dpo_on_pairs_of_its_own(record):
    run = DPO_RUNS[-1]
    found = contests.runs(answer_runs.margins, [(*run, s) for s in SEEDS])
    rows = []
    for seed in SEEDS:
        loss, chosen, rejected, sampled, greedy, *_ = found[*run, seed]
        rows.append((seed, loss, chosen, rejected, sampled, greedy))
    record(
        "dpo_seeds",
        kind="trained",
        seeds=SEEDS,
        spread={"loss": 0.05, "chosen": 0.5, "rejected": 3.0,
                "sampled": 0.05, "greedy": 0.05},
        example=NO_RANKING + "one setting, seed by seed.",
        title="DPO on pairs of the policy's own answers, β = 1, a rate of "
        "1e-3, two passes",
        prediction=(
            "The likeliest answers are right in .97, the sampled ones in "
            ".95, and right answers become likelier by a nat."
        ),
        columns={"seed": "", "loss": "", "chosen": "nat", "rejected": "nat",
                 "sampled": "", "greedy": ""},
        labels={"loss": "loss at the end",
                "chosen": "right answers' log-probability has changed by",
                "rejected": "forgetful ones'",
                "sampled": "sampled answers right",
                "greedy": "likeliest right"},
        rows=rows,
    )  # fmt: skip


REWARDS = {
    "GRPO": "the whole answer",
    "digits, summed": "digits in one sum",
    "digit by digit": "each digit its own",
}


def grpo_rate():
    """What was best for GRPO in the race."""
    rates = RATES["GRPO"]
    found = contests.tuned(
        answer_runs.chosen, {("GRPO",): [("GRPO",)]}, rates, max
    )
    return found["GRPO",]


@pytest.mark.trained
def bench_a_reward_for_the_outcome_and_for_the_process(record):
    rate = grpo_rate()
    found = reports(dict.fromkeys(REWARDS, rate))
    rows = []
    for way, said in found.items():
        curves = [[share for _, share in one[5]] for one in said]
        looks = [step for step, _ in said[0][5]]
        for step, shares in zip(looks, columns_of(curves), strict=True):
            rows.append((REWARDS[way], step, *spread_of(shares)))
    record(
        "process",
        kind="trained",
        seeds=SEEDS,
        spread={"right": 0.06, "lowest": None, "highest": None},
        example=NO_RANKING + "one rate, which was chosen for the reward of "
        "the whole answer.",
        title=f"What is rewarded, at a rate of {rate:g}: right answers "
        "while the policy learns",
        prediction=(
            "A reward for each digit says which digit was wrong, so the "
            "first 40 steps teach more; at the end all are alike."
        ),
        columns={"reward": "", "step": "", "right": "", "lowest": "",
                 "highest": ""},
        labels={"reward": "a reward for", "right": "sampled answers right",
                "lowest": "worst seed", "highest": "best seed"},
        rows=rows,
    )  # fmt: skip


@pytest.mark.trained
def bench_groups_that_teach_nothing(record):
    rate = grpo_rate()
    found = reports(dict.fromkeys(("GRPO", "GRPO without the spread"), rate))
    rows = []
    for way, said in found.items():
        dead = [one[6] for one in said]
        early, late = (
            statistics.mean(statistics.mean(run[part]) for run in dead)
            for part in (slice(None, 10), slice(-10, None))
        )
        sampled = spread_of([one[0] for one in said])
        rows.append((way, early, late, *sampled))
    record(
        "variants",
        kind="trained",
        seeds=SEEDS,
        spread={"early": 0.1, "late": 0.15, "sampled": 0.05, "lowest": None,
                "highest": None},
        example=NO_RANKING + "one rate, which was chosen for GRPO. grpo, "
        "dapo and bnpo are one run here, since all answers are equally long.",
        title="Groups whose answers all earn the same, and right answers at "
        "the end, with and without dividing by the spread",
        prediction=(
            "Half of the groups are dead at first and nine in ten at the "
            "end. Whether the spread divides or not is a tie."
        ),
        columns={"way": "", "early": "", "late": "", "sampled": "",
                 "lowest": "", "highest": ""},
        labels={"early": "dead in the first 10 steps",
                "late": "dead in the last 10",
                "sampled": "sampled answers right", "lowest": "worst seed",
                "highest": "best seed"},
        rows=rows,
    )  # fmt: skip


LENGTHS = (1, 4, 16)  # tokens of three answers
AVERAGES = {"grpo": per_answer, "dapo": per_token, "bnpo": per_token,
            "dr_grpo": per_limit(16)}  # fmt: skip


def bench_what_one_token_counts(record):
    mask = torch.arange(16) < torch.tensor(LENGTHS)[:, None]
    rows = []
    for name, average in AVERAGES.items():
        losses = torch.zeros(mask.shape, dtype=torch.float64)
        losses.requires_grad_()
        (weight,) = torch.autograd.grad(average(losses, mask), losses)
        rows.append((name, *weight[:, 0].tolist()))
    record(
        "token_weights",
        kind="tolerance",
        tolerance=1e-9,
        title="What one token counts in a batch of answers of 1, 4 and 16 "
        "tokens",
        prediction=(
            "Under GRPO a token of the long answer counts a sixteenth of the "
            "short one's; under the others all count alike."
        ),
        columns={"average": "", "short": "", "middle": "", "long": ""},
        labels={"short": "answer of 1", "middle": "answer of 4",
                "long": "answer of 16"},
        rows=rows,
    )  # fmt: skip


DISTANCES = (0.1, 0.5, 2.0)  # of the logits
ESTIMATES = {"k1": k1, "k2": k2, "k3": k3}


def estimated(size):
    """Rows of one distance: each estimator against the exact divergence."""
    draw = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 12, generator=draw, dtype=torch.float64)
    policy = first.clone().requires_grad_()
    reference = (first + size * second).log_softmax(-1)
    ours, kl = policy.log_softmax(-1), divergence(policy, reference)
    chance = ours.exp().detach()

    def slope(loss):
        return torch.autograd.grad(loss, policy, retain_graph=True)[0]

    def off(loss):
        return ((slope(loss) - slope(kl)).norm() / slope(kl).norm()).item()

    def row(name, values):
        mean = (chance * values).sum()
        deviation = (chance * (values - mean).square()).sum().sqrt()
        paid = (chance * values.detach() * ours).sum()
        return (
            name, kl.item(), ((mean - kl) / kl).item(),
            (deviation / kl).item(), off((chance * values).sum()), off(paid),
        )  # fmt: skip

    for name, estimate in ESTIMATES.items():
        yield row(name, estimate(ours, reference))
    corrected = kl_penalty(ours[None], None, reference[None], beta=1.0)[0]
    yield row("k3 with the ratio", corrected)


def bench_estimators_of_kl(record):
    rows = [
        (name, round(kl, 6), *(round(x, 9) + 0.0 for x in rest))
        for size in DISTANCES
        for name, kl, *rest in estimated(size)
    ]
    record(
        "kl",
        kind="tolerance",
        tolerance=1e-5,
        seed=0,
        title="Estimators of KL from one token of twelve, summed over all "
        "tokens: the number, and the gradient",
        prediction=(
            "k1 and k3 are right on average, k2 is not; k1 is by far the "
            "noisiest. As a loss k1 teaches nothing, k2 is exact, and k3 is "
            "wrong, the more so the farther apart. In the reward only k1 "
            "is exact."
        ),
        columns={"estimator": "", "kl": "nat", "bias": "", "deviation": "",
                 "as_loss": "", "in_reward": ""},
        labels={"kl": "true KL", "bias": "bias, of the true KL",
                "deviation": "standard deviation, of the true KL",
                "as_loss": "gradient as a loss, off by",
                "in_reward": "gradient in the reward, off by"},
        rows=rows,
    )  # fmt: skip


def bench_how_often_forgetting_shows(record):
    train, held_out = starts.TRAIN, starts.HELD_OUT
    record(
        "problems",
        kind="exact",
        title="Problems, and those in which something is carried",
        prediction="70 %: less the 0.55² in which neither column reaches 10.",
        columns={"part": "", "problems": "", "carried": ""},
        labels={"carried": "with a carry"},
        rows=[
            ("to train on", len(train), int(carries(train).sum())),
            ("held out", len(held_out), int(carries(held_out).sum())),
        ],
    )
