"""Random programs on arrays that torch and we read the same way.

A program is a list of steps on a growing list of values; every step names
its operation and which of the earlier values it takes. `run` is written
with operators and methods that NumPy-like classes and torch share, so one
text computes with torch's tensors, with ours and with dual numbers.
"""

from hypothesis import strategies as st

SHAPES = [(), (1,), (3,), (2, 1), (1, 3), (2, 3), (3, 2), (4, 2, 3)]
ONE = {
    "tanh": lambda x: x.tanh(),
    "exp": lambda x: x.tanh().exp(),
    "log": lambda x: (x * x + 1.5).log(),
    "relu": lambda x: x.relu(),
    "negate": lambda x: -x,
    "square": lambda x: x.tanh() ** 2,
    "root": lambda x: (x * x + 0.5) ** 0.5,
    "minus": lambda x: 0.3 - x,
    "under": lambda x: 2.0 / (x * x + 1.0),
    "sum": lambda x: x.sum(),
    "sum last": lambda x: x.sum(axis=-1) if x.shape else x,
    "mean first": lambda x: x.mean(axis=0, keepdims=True) if x.shape else x,
    "mean": lambda x: x.mean(),
    "flat": lambda x: x.reshape(-1),
    "row": lambda x: x.reshape(1, -1),
    "first": lambda x: x[0] if x.shape else x,
    "twice": lambda x: x[[0, 0, -1]] if x.shape else x,
    "part": lambda x: x[..., :2] if x.shape else x,
    "softmax": lambda x: x.softmax(-1) if x.shape else x,
    "log_softmax": lambda x: x.log_softmax(-1) if x.shape else x,
}
TWO = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y.tanh(),
    "divide": lambda x, y: x / (y * y + 1.0),
    "matmul": lambda x, y: x.tanh() @ y,
}
step = st.tuples(
    st.sampled_from([*ONE, *TWO, *TWO]), st.integers(0, 99), st.integers(0, 99)
)
leaves = st.lists(st.sampled_from(SHAPES), min_size=1, max_size=4)
programs = st.tuples(leaves, st.lists(step, min_size=1, max_size=12))


def run(steps, leaves):
    """Compute every step that its arguments' shapes allow; sum them all.

    Newer values are drawn more often, so that graphs grow deep; a value
    may be used many times or never.
    """
    values = list(leaves)
    for name, i, j in steps:
        x, y = (values[-1 - k % len(values)] for k in (i, j))
        if name in ONE:
            values.append(ONE[name](x))
        elif fits(name, tuple(x.shape), tuple(y.shape)):
            values.append(TWO[name](x, y))
    total = 0.0
    for weight, value in enumerate(values, 1):
        total = total + (value * (1.0 / weight)).sum()
    return total


def fits(name, x, y):
    if name == "matmul":
        if not (x and y) or x[-1] != y[-2 if len(y) > 1 else 0]:
            return False
        x, y = x[:-2], y[:-2]
    pairs = zip(reversed(x), reversed(y), strict=False)
    return all(a == b or 1 in (a, b) for a, b in pairs)
