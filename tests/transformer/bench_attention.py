"""What the attention chapter computes: recall, scaling, lookup, masks."""

import math
from itertools import product

import torch

from llmnotes.transformer.attention import (
    attention,
    attention_weights,
    block_diagonal_mask,
    causal_mask,
    masked_softmax,
    padding_mask,
    scaled_scores,
    sliding_window_mask,
)

SEED = 0


def hits(read, value):
    """Share of reads whose nearest stored value is the right one."""
    nearest = (read @ value.transpose(-1, -2)).argmax(-1)
    return (nearest == torch.arange(value.shape[-2])).double().mean().item()


def bench_a_state_of_fixed_size_forgets(record):
    head_dim, rows = 32, []
    for pairs in (4, 8, 16, 32, 64, 128, 256, 512):
        torch.manual_seed(SEED)
        key, value = torch.randn(2, 20, pairs, head_dim, dtype=torch.float64)
        state = key.transpose(-1, -2) @ value  # 32 x 32, whatever `pairs` is
        rows.append(("fixed state", pairs, hits(key @ state, value)))
        read = attention(key, key, value)
        rows.append(("attention", pairs, hits(read, value)))
    record(
        "recall",
        kind="tolerance",
        tolerance=1e-2,
        seed=SEED,
        title="Pairs remembered by a 32 × 32 state and by attention",
        prediction=(
            "The state is the sum of 32 × 32 outer products, so it should "
            "begin to fail when the pairs outnumber its 32 dimensions. "
            "Attention keeps every pair and should fail only when a random "
            "key comes close to the right one: rarely, even at 512."
        ),
        columns={"memory": "", "pairs": "", "recall": ""},
        labels={
            "pairs": "pairs stored",
            "recall": "share of reads that find their value",
        },
        rows=rows,
    )


def found(read, value):
    """Whether each read is nearest to its own value."""
    nearest = (read @ value.transpose(-1, -2)).argmax(-1)
    return (nearest == torch.arange(value.shape[-2])).double()


def added(key, value):
    """Linear attention: the sum of all outer products."""
    return key.transpose(-1, -2) @ value


def corrected(key, value):
    """The delta rule: write what the key does not yet return."""
    state = torch.zeros_like(key[:, :1].transpose(-1, -2) @ value[:, :1])
    for k, v in zip(key.split(1, 1), value.split(1, 1), strict=True):
        state = state + k.transpose(-1, -2) @ (v - k @ state)
    return state


def bench_the_delta_rule_keeps_what_came_last(record):
    head_dim, latest, rows = 32, 16, []
    for name, write in (("sum", added), ("delta rule", corrected)):
        for pairs in (16, 32, 64, 128, 256, 512):
            torch.manual_seed(SEED)
            key, value = torch.randn(
                2, 20, pairs, head_dim, dtype=torch.float64
            )
            key = torch.nn.functional.normalize(key, dim=-1)
            right = found(key @ write(key, value), value)
            last = right[:, -latest:].mean().item()
            rows.append((name, pairs, right.mean().item(), last))
    record(
        "delta",
        kind="tolerance",
        tolerance=1e-2,
        seed=SEED,
        title="Pairs that a 32 × 32 state remembers, by its rule for writing",
        prediction=(
            "The delta rule takes out what a key returned before it writes, "
            "so it should remember more pairs than the sum at every number."
        ),
        columns={"rule": "", "pairs": "", "all": "", "latest": ""},
        labels={
            "rule": "written by",
            "pairs": "pairs stored",
            "all": "found, of all",
            "latest": "found, of the last 16",
        },
        rows=rows,
    )


def describe(scores):
    """Entropy, size of the Jacobian (median) and share of saturated rows."""
    p = scores.softmax(-1)
    entropy = torch.special.entr(p).sum(-1).mean()
    jacobian = torch.diag_embed(p) - p[..., :, None] * p[..., None, :]
    gradient = jacobian.norm(dim=(-2, -1)).median()
    saturated = (p.amax(-1) > 0.99).double().mean()
    return scores.std(), entropy, gradient, saturated


def bench_unscaled_scores_saturate_the_softmax(record):
    rows = []
    for head_dim in (1, 4, 16, 64, 256, 1024):
        torch.manual_seed(SEED)
        query, key = torch.randn(2, 256, head_dim, dtype=torch.float64)
        key = key[:128]
        for name, scale in (("none", 1.0), ("1/√d", None)):
            scores = scaled_scores(query, key, scale)
            numbers = [x.item() for x in describe(scores)]
            rows.append((name, head_dim, *numbers))
    record(
        "scaling",
        kind="tolerance",
        tolerance=1e-6,
        seed=SEED,
        title="Softmax over 128 random keys, with and without the scale",
        prediction=(
            "Unscaled scores have standard deviation √d: 8 at d = 64, so the "
            "largest of 128 leads the next by several units and takes almost "
            "all the weight. Entropy falls from near ln 128 = 4.85 towards 0, "
            "and the softmax's gradient with it: rows whose largest weight "
            "exceeds 0.99 pass almost none. Divided by √d, none of this "
            "should depend on d."
        ),
        columns={
            "scale": "",
            "d": "",
            "score_std": "",
            "entropy": "nat",
            "gradient": "",
            "saturated": "",
        },
        labels={
            "d": "head dimension d",
            "score_std": "standard deviation of the scores",
            "entropy": "entropy of the weights",
            "gradient": "size of the softmax Jacobian, median",
            "saturated": "share of rows with a weight above 0.99",
        },
        rows=rows,
    )


def bench_a_query_takes_from_the_keys_it_points_at(record):
    def circle(n):
        angle = torch.arange(n, dtype=torch.float64) * 2 * math.pi / n
        return torch.stack([angle.cos(), angle.sin()], -1)

    weights = masked_softmax(scaled_scores(circle(8), circle(12), scale=4.0))
    record(
        "lookup",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="Weights of 8 queries over 12 keys spread on a circle",
        prediction=(
            "Each row peaks where the key points the way the query does and "
            "falls off to both sides, so the rows form a diagonal band."
        ),
        columns={"query": "", "key": "", "weight": ""},
        rows=[
            (i, j, weights[i, j].item())
            for i, j in product(range(8), range(12))
        ],
    )


def bench_a_hand_points_among_keys(record):
    degrees = [15, 48, 68, 106, 160, 195, 252, 310]
    angle = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    key = torch.stack([angle.cos(), angle.sin()], -1)
    turn = torch.tensor([math.radians(60)], dtype=torch.float64)
    query = torch.stack([turn.cos(), turn.sin()], -1)
    weights = attention_weights(query, key, scale=2.0)[0]
    x, y = attention(query, key, key, scale=2.0)[0].tolist()
    record(
        "hand",
        kind="tolerance",
        tolerance=1e-9,
        seed=None,
        title="A query that points at 60 degrees among eight keys, scale 2",
        prediction=(
            "The two keys nearest to 60 degrees share most of the weight. "
            "The answer, the mean of the keys themselves, lies inside the "
            "circle, on their side."
        ),
        columns={"key": "", "degrees": "", "weight": "", "x": "", "y": ""},
        labels={
            "degrees": "where the key points, in degrees",
            "x": "answer, x",
            "y": "answer, y",
        },
        rows=[
            (i + 1, d, w, x, y)
            for i, (d, w) in enumerate(
                zip(degrees, weights.tolist(), strict=True)
            )
        ],
    )


def bench_masks(record):
    n = 8
    segments = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    masks = {
        "causal": causal_mask(n, n),
        "padding after 5": padding_mask(torch.tensor([5]), n)[0, 0],
        "packed 3 + 5": block_diagonal_mask(segments)[0, 0],
        "sliding window of 3": sliding_window_mask(n, n, 3),
    }
    record(
        "masks",
        kind="exact",
        seed=None,
        title="Which key (across) each query (down) may see",
        prediction=(
            "Causal: a lower triangle of n(n+1)/2 = 36 pairs. Padding: 5 "
            "full columns, 40 pairs. Packed: two squares, 9 + 25 = 34. "
            "Window of 3: 1 + 2 + 6·3 = 21."
        ),
        columns={"mask": "", "query": "", "key": "", "weight": ""},
        rows=[
            (name, i, j, int(mask.expand(n, n)[i, j]))
            for name, mask in masks.items()
            for i, j in product(range(n), range(n))
        ],
    )
