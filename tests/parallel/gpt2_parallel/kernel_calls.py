"""Arguments for every kernel of llm.c's, at sizes that no block divides."""

import numpy as np

B, T, C, NH, V, VP, P = 3, 71, 36, 3, 133, 135, 75
SHAPES = {
    "encoder_forward": ("BTC", "ids", "VC", "PC"),
    "encoder_backward": ("VC", "PC", "BTC", "ids"),
    "layernorm_forward": ("BTC", "BT", "BT", "BTC", "C", "C"),
    "layernorm_backward": ("BTC", "C", "C", "BTC", "BTC", "C", "BT", "rstd"),
    "matmul_forward": ("BTO", "BTC", "OC", "O"),
    "matmul_backward": ("BTC", "OC", "O", "BTO", "BTC", "OC"),
    "attention_forward": ("BTC", "BHTT", "BHTT", "BT3"),
    "attention_backward": ("BT3", "low", "low", "BTC", "BT3", "att"),
    "gelu_forward": ("BTO", "BTO"),
    "gelu_backward": ("BTO", "BTO", "BTO"),
    "residual_forward": ("BTC", "BTC", "BTC"),
    "residual_backward": ("BTC", "BTC", "BTC"),
    "softmax_forward": ("BTV", "BTV", "count"),
    "crossentropy_forward": ("BT", "probs", "ids"),
    "crossentropy_softmax_backward": ("BTV", "BT", "probs", "ids", "count"),
    "adamw": ("OC", "OC", "OC", "square", "numbers"),
}
SIZES = dict(zip("BTCHVPO3", (B, T, C, NH, VP, P, 101, 3 * C), strict=True))


def array(word, draw, dtype):
    """Random numbers of a shape, or of a kind."""
    if word == "ids":
        ids = draw.integers(0, V, (B, T)).astype(np.int32)
        ids[:, :2] = ids[0, 0]  # a token that comes again and again
        return ids
    if word == "rstd":
        return draw.uniform(0.5, 2, (B, T)).astype(dtype)
    if word in ("att", "low"):
        x = np.tril(draw.uniform(0.1, 1, (B, NH, T, T)))
        return (x / x.sum(-1, keepdims=True)).astype(dtype)
    if word == "probs":
        x = draw.uniform(0.1, 1, (B, T, VP))
        x[..., V:] = 0
        return (x / x.sum(-1, keepdims=True)).astype(dtype)
    if word == "square":
        return draw.uniform(0, 1, (SIZES["O"], C)).astype(dtype)
    shape = [SIZES[letter] for letter in word]
    return draw.standard_normal(shape).astype(dtype)


def arguments(name, dtype=np.float32, seed=0):
    """What the kernel is called with: the same numbers in each precision."""
    draw, made = np.random.default_rng(seed), []
    for word in SHAPES[name]:
        if word == "count":
            made.append(V)
        elif word == "numbers":
            made += [0.01, 0.9, 0.999, 1e-8, 0.1, 3]
        else:
            x = array(word, draw, np.float32)
            made.append(x if x.dtype == np.int32 else x.astype(dtype))
    return made


def called(kernels, name, dtype=np.float32, seed=0):
    """All arrays after the call, by position."""
    given = arguments(name, dtype, seed)
    getattr(kernels, name)(*given)
    return [x for x in given if isinstance(x, np.ndarray)]
