"""Sentence vectors: the mean, padding left out, against the library's own."""

import pytest
import torch

from llmnotes.transformer.bert.files import load_minilm, minilm_folder
from llmnotes.transformer.bert.sentences import embed, mean_pool, most_similar

SENTENCES = [
    "That is a happy person",
    "That is a happy dog",
    "That is a very happy person",
    "Today is a sunny day",
]


@pytest.fixture(scope="module")
def minilm():
    return load_minilm()


def test_by_hand_the_mean_of_two_real_tokens():
    hidden = torch.tensor([[[3.0, 1.0], [1.0, 5.0], [9.0, 9.0]]])
    mask = torch.tensor([[True, True, False]])
    assert mean_pool(hidden, mask).tolist() == [[2.0, 3.0]]


def test_nothing_real_gives_zeros_and_no_nan():
    hidden = torch.randn(2, 3, 5)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    assert (mean_pool(hidden, mask) == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_bad_numbers_at_the_padding_reach_neither_mean_nor_gradient(bad):
    hidden = torch.tensor([[[1.0], [3.0], [bad]]], requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    mean = mean_pool(hidden, mask)
    assert mean.tolist() == [[2.0]]
    (grad,) = torch.autograd.grad(mean.sum(), hidden)
    assert grad.flatten().tolist() == [0.5, 0.5, 0.0]


def test_a_mean_of_halves_is_summed_in_float32():
    hidden = torch.full((1, 3000, 1), 100.0, dtype=torch.half)
    mean = mean_pool(hidden, torch.ones(1, 3000, dtype=torch.bool))
    assert mean.dtype == torch.half and mean.item() == 100


def test_vectors_equal_those_of_sentence_transformers(minilm):
    from sentence_transformers import SentenceTransformer  # takes seconds

    texts = [*SENTENCES, "Naïve café: ½ + 中国?", "word " * 300, ""]
    theirs = SentenceTransformer(str(minilm_folder()), device="cpu")
    right = theirs.encode(texts, convert_to_tensor=True)
    found = embed(*minilm, texts, at_once=3)
    torch.testing.assert_close(found, right, rtol=0, atol=1e-5)


def test_vectors_have_length_one_and_do_not_depend_on_company(minilm):
    found = embed(*minilm, SENTENCES)
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(4))
    for i, sentence in enumerate(SENTENCES):
        alone = embed(*minilm, [sentence])[0]
        torch.testing.assert_close(alone, found[i], rtol=0, atol=1e-5)


def test_happy_persons_are_alike_and_a_sunny_day_is_not(minilm):
    cosine = embed(*minilm, SENTENCES) @ embed(*minilm, SENTENCES)[0]
    right = torch.tensor([1.0, 0.6946, 0.9429, 0.2569])
    torch.testing.assert_close(cosine, right, rtol=0, atol=5e-5)


def test_the_most_similar_pairs_come_first_and_nobody_pairs_with_himself():
    torch.manual_seed(0)
    vectors = torch.randn(7, 5)
    every = most_similar(vectors, 99)
    assert len({(i, j) for i, j, _ in every}) == len(every) == 21
    assert all(i < j for i, j, _ in every)
    for i, j, cosine in every:
        right = (vectors[i] @ vectors[j]).item()
        assert cosine == pytest.approx(right, abs=1e-5)
    values = [cosine for _, _, cosine in every]
    assert values == sorted(values, reverse=True)
    assert most_similar(vectors, 3) == every[:3]


BAD_SENTENCES = {
    "sentences: got str, expected a list of str": "abc",
    "sentences: got none, expected at least one": [],
    "sentences[1]: got NoneType, expected a str": ["a", None],
}


@pytest.mark.parametrize(("message", "sentences"), BAD_SENTENCES.items())
def test_what_is_no_list_of_sentences_is_named(minilm, message, sentences):
    with pytest.raises(ValueError) as error:
        embed(*minilm, sentences)
    assert str(error.value) == message


@pytest.mark.parametrize("at_once", [0, -1])
def test_sentences_are_taken_at_least_one_at_once(minilm, at_once):
    with pytest.raises(ValueError, match=f"^at_once: got {at_once}, expected"):
        embed(*minilm, ["a"], at_once)


def test_at_least_one_pair_is_asked_for():
    with pytest.raises(ValueError, match="^count: got 0, expected at least 1"):
        most_similar(torch.eye(3), 0)
