"""What is drawn, how likely it was, and how far two policies are apart."""

import pytest
import torch

from llmnotes.adaptation.rlhf import (
    answer_logits,
    distance,
    log_probs,
    sample,
)
from tests.adaptation.rlhf.small import (
    ANSWER,
    VOCAB,
    every_answer,
    policy,
    prompt,
)


def chances(seed=0):
    """The probability of every answer."""
    return log_probs(policy(seed), *every_answer()).sum(1).exp()


def test_all_answers_together_have_probability_1():
    assert chances().sum().item() == pytest.approx(1)
    assert chances().max() < 0.9


def test_the_log_probability_is_that_of_the_token_and_not_of_its_neighbour():
    """Token by token, with a text that ends where the token begins."""
    prompts, answers = every_answer()
    texts = torch.cat([prompts, answers], dim=1)
    found = log_probs(policy(), prompts, answers)
    for t in range(ANSWER):
        before = texts[:, : prompts.shape[1] + t]
        logits = policy()(before)[:, -1].log_softmax(-1)
        expected = logits.gather(1, answers[:, t : t + 1])[:, 0]
        torch.testing.assert_close(found[:, t], expected)


def test_answers_are_drawn_as_often_as_their_log_probability_says():
    many = prompt().expand(3000, -1)
    draw = torch.Generator().manual_seed(0)
    answers = sample(policy(), many, ANSWER, generator=draw)
    places = answers @ torch.tensor([VOCAB, 1])
    found = places.bincount(minlength=VOCAB**ANSWER) / len(many)
    expected = chances()
    error = (expected * (1 - expected) / len(many)).sqrt()
    assert ((found - expected).abs() < 4 * error + 1e-9).all()


def test_at_temperature_0_the_likeliest_token_is_written():
    answer = sample(policy(), prompt(), 1, temperature=0)
    logits = answer_logits(policy(), prompt(), answer)
    assert answer.item() == logits.argmax(-1).item()


def test_a_seed_draws_the_same_answers_again():
    many = prompt().expand(50, -1)
    one, two, other = (
        sample(policy(), many, ANSWER,
               generator=torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )  # fmt: skip
    assert torch.equal(one, two) and not torch.equal(one, other)


def test_the_distance_is_the_kl_of_whole_answers():
    """Each answer as often as it is drawn: the chain rule of KL."""
    prompts, answers = every_answer()
    found = sum(
        chance * distance(policy(0), policy(1), prompts[:1], answer[None])
        for chance, answer in zip(chances(0).tolist(), answers, strict=True)
    )
    expected = chances(0) * (chances(0) / chances(1)).log()
    assert found == pytest.approx(expected.sum().item())
    assert found > 0.1


def test_only_the_policy_that_writes_is_asked_for_a_gradient():
    model = policy()
    assert not log_probs(model, *every_answer()).requires_grad
    try:
        model.requires_grad_(True)
        assert log_probs(model, *every_answer()).requires_grad
    finally:
        model.requires_grad_(False)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (torch.zeros(2, 2).long(), "answers: got batch 2, expected prompts' "
                                   "1"),
        (torch.zeros(1, 2), "answers: got torch.float32, expected an integer"),
        (torch.zeros(1, 0).long(), "answers: got shape"),
        (torch.zeros(1, 5).long(), "ids: got length 8, expected at most "
                                   "n_positions = 7"),
    ],
)  # fmt: skip
def test_answers_that_do_not_fit_are_refused(answers, message):
    with pytest.raises(ValueError, match=message):
        answer_logits(policy(), prompt(), answers)
