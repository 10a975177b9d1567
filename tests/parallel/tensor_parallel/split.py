"""What ranks do in these tests; a module of its own, quick to import."""

import torch
import torch.distributed as dist
import torch.nn.functional as F

from llmnotes.parallel import tensor_parallel as tp
from llmnotes.parallel.data_parallel import Traffic
from llmnotes.parallel.tensor_parallel.operators import joined
from llmnotes.transformer import gpt
from tests.parallel.tensor_parallel import dense

WAYS = {"replicated": tp.Replicated, "pieces": tp.Pieces}
PARTS = {
    "mlp": (lambda: dense.model().transformer.h[0].mlp, tp.MLP),
    "attention": (lambda: dense.model().transformer.h[0].attn, tp.Attention),
    "block": (lambda: dense.model().transformer.h[1], tp.Block),
}


def arrays(tree):
    """Tensors as arrays, which outlive the process."""
    return {
        name: (x.float() if x.dtype == torch.bfloat16 else x).numpy().copy()
        for name, x in tree.items()
    }


def counted(traffic):
    """Kinds of calls, and numbers sent."""
    return dict(traffic.count()), traffic.sent


def part(name, way):
    """A split part of the model: output and all gradients, and the calls."""
    make, cls = PARTS[name]
    ways = WAYS[way]()
    return through(cls(make(), ways), ways)


def through(module, ways, *more):
    """Output and gradients of all ranks together, beside `dense.through`."""
    x, weights = dense.rows()
    x.requires_grad_()
    with Traffic() as forward:
        out = module(ways.tokens(x, 1), *more)
    loss = (out * ways.tokens(weights, 1)).sum()
    with Traffic() as backward:
        loss.backward()
    pieces = isinstance(ways, tp.Pieces)
    if pieces:
        out, loss = joined(out.detach(), 1, None), loss.detach()
        dist.all_reduce(loss)
        dist.all_reduce(x.grad)  # each rank has that of its own tokens
    said = dense.found(x, out, loss, torch.nn.Module())
    said |= tp.whole(module, gradients=True)
    return arrays(said), counted(forward), counted(backward)


def model(way, length=dense.LENGTH, dtype=torch.float64, **changes):
    """A whole GPT: loss, logits, parameters and gradients."""
    made = dense.model(**changes).to(dtype)
    split = tp.TensorGPT(made, WAYS[way]())
    inputs, targets = dense.text(made.config.vocab_size, length)
    with Traffic() as forward:
        loss = tp.loss(split, inputs, targets)
    with Traffic() as backward:
        loss.backward()
    said = {"loss": loss.detach(), "norm": tp.gradient_norm(split)}
    said |= {"logits": logits_of(split, inputs)}
    said |= {
        f"{k}.grad": x for k, x in tp.whole(split, gradients=True).items()
    }
    said |= tp.whole(split)
    return arrays(said), counted(forward), counted(backward)


def logits_of(split, inputs):
    """The logits of all ranks side by side."""
    with torch.no_grad():
        parts = tp.parts_of_all(split(inputs))
    return torch.cat(parts, -1)


def same_everywhere(way):
    """Replicated parameters after three steps: how far ranks are apart."""
    split = tp.TensorGPT(dense.model(), WAYS[way]())
    optimizer = torch.optim.SGD(split.parameters(), lr=0.1)
    for seed in range(3):
        optimizer.zero_grad()
        tp.loss(split, *dense.text(seed=seed)).backward()
        optimizer.step()
    cut, apart = tp.layouts(split), {}
    for name, p in split.named_parameters():
        if isinstance(cut[name], tp.Everywhere):
            low, high = p.detach().clone(), p.detach().clone()
            dist.all_reduce(low, dist.ReduceOp.MIN)
            dist.all_reduce(high, dist.ReduceOp.MAX)
            apart[name] = float((high - low).max())
    return apart


def trained(way, steps=20):
    """Losses of some steps of AdamW, and the parameters behind them."""
    split = tp.TensorGPT(dense.model(), WAYS[way]())
    losses = steps_of(split, lambda *batch: tp.loss(split, *batch), steps)
    return losses, arrays(tp.whole(split))


def steps_of(module, loss_of, steps):
    """Train with AdamW; the losses."""
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-2)
    losses = []
    for seed in range(steps):
        optimizer.zero_grad()
        loss = loss_of(*dense.text(seed=seed))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def grouped(heads, kv_heads, way):
    """Llama's attention with fewer keys than queries."""
    ways = WAYS[way]()
    split = tp.GroupedAttention(dense.grouped(heads, kv_heads), ways)
    return through(split, ways, still)


def still(*heads):
    """Turn nothing."""
    return heads


def operators():
    """The gradient of x on two ranks, for each way to sum it."""
    import warnings

    import torch.distributed._functional_collectives as functional
    import torch.distributed.nn.functional as twice

    def in_place(x):
        x = x.clone()
        dist.all_reduce(x)
        return x

    group, said = list(range(dist.get_world_size())), {}
    ways = {
        "summed": tp.summed,
        "copied": tp.copied,
        "distributed.nn": twice.all_reduce,
        "functional": lambda x: functional.all_reduce(x, "sum", group),
        "in place": in_place,
    }
    for name, way in ways.items():
        x = torch.ones(3, requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            way(x).sum().backward()
        said[name] = x.grad[0].item()
    return said


def transposes(dim):
    """<op(x), y> and <x, transpose(y)>, summed over all ranks, by name."""
    rank, ranks = dist.get_rank(), dist.get_world_size()
    draw = torch.Generator().manual_seed(rank)
    shape = [3, 5, 2]
    shape[dim] = 2 * ranks
    piece = list(shape)
    piece[dim] = 2
    said = {}
    for name, op, start, end in (
        ("gathered", tp.gathered, piece, shape),
        ("scattered", tp.scattered, shape, piece),
    ):
        x = torch.randn(start, generator=draw, dtype=torch.float64)
        y = torch.randn(end, generator=draw, dtype=torch.float64)
        x.requires_grad_()
        out = op(x, dim)
        (out * y).sum().backward()
        sides = torch.stack([(out * y).sum(), (x * x.grad).sum()]).detach()
        dist.all_reduce(sides)
        said[name] = sides.tolist()
    return said


def vocabulary(vocab, targets, scale):
    """Loss and the gradient of all logits side by side."""
    logits = logits_for(vocab, len(targets), scale)
    own = tp.tokens_of(vocab, dist.get_rank(), dist.get_world_size())
    part = logits[:, own.start : own.stop].clone().requires_grad_()
    with Traffic() as forward:
        loss = tp.cross_entropy(part, torch.tensor(targets), vocab)
    with Traffic() as backward:
        loss.backward()
    whole = torch.cat(tp.parts_of_all(part.grad), -1)
    said = arrays({"loss": loss.detach(), "gradient": whole})
    return said, dict(forward.count()), dict(backward.count())


def logits_for(vocab, count, scale):
    """Random logits, one row for each target."""
    draw = torch.Generator().manual_seed(vocab)
    shape = count, vocab
    return scale * torch.randn(shape, generator=draw, dtype=torch.float64)


def embedded(way):
    """Rows of the split table, and its gradient."""
    ways, table = WAYS[way](), dense.model().transformer.wte
    split = tp.Embedding(table, ways)
    ids, _ = dense.text()
    weights = ways.tokens(dense.rows()[1], 1)
    out = split(ids)
    (out * weights).sum().backward()
    if isinstance(ways, tp.Pieces):
        out = joined(out.detach(), 1, None)
    return arrays({"output": out.detach(), **tp.whole(split, gradients=True)})


def norm_by_hand():
    """Sharded gradients 3 and 4, and 12 on both ranks."""
    layer = tp.Row(gpt.Conv1D(2, 1), tp.Replicated())
    layer.weight.grad = torch.tensor([[3.0 + dist.get_rank()]])
    layer.bias.grad = torch.tensor([12.0])
    return tp.gradient_norm(layer).item()


def dropped(way, seed, p=0.5):
    """What dropout leaves between the regions and inside of them."""
    torch.manual_seed(seed)
    ways = WAYS[way](seed=seed)
    x = torch.ones(50, 80)
    between = tp.Dropout(p, ways)(x)
    with ways.inside():
        inside = F.dropout(x, p)
    with ways.inside():
        again = F.dropout(x, p)
    heads = dropped_by_heads(ways, p)
    after = torch.rand(3)  # the shared generator goes on alike
    said = {"between": between, "inside": inside, "after": after}
    return arrays(said | {"heads": heads, "again": again})


def dropped_by_heads(ways, p):
    """What attention's own dropout lets through: keys of each query.

    Values are the identity and the projection hands a rank's heads on, so
    every row of the output shows which weights are left.
    """
    length, ranks = 40, ways.ranks
    config = gpt.GPTConfig(
        n_embd=length * ranks, n_head=ranks, dropout=p, n_positions=length
    )
    layer = gpt.Attention(config)
    layer.c_attn.weight.data.zero_()
    layer.c_attn.bias.data.zero_()
    eye = torch.eye(length).repeat(1, ranks)
    layer.c_attn.weight.data[:length, -length * ranks :] = eye
    split = tp.Attention(layer, ways)
    split.c_proj = Seen(ways)
    x = torch.zeros(1, length, length * ranks)
    x[..., :length] = torch.eye(length)
    split(ways.tokens(x, 1))
    past = torch.ones(length, length).tril() > 0
    return (split.c_proj.y[0] > 0).float()[past]


class Seen(torch.nn.Module):
    """Keeps what a rank's heads say."""

    def __init__(self, ways):
        super().__init__()
        self.ways = ways

    def forward(self, y):
        """Something of the right shape."""
        self.y = y
        return self.ways.tokens(y.repeat(1, 1, self.ways.ranks), 1)


def with_dropout(way):
    """A whole step with dropout: losses of all ranks."""
    torch.manual_seed(3)
    split = tp.TensorGPT(dense.model(dropout=0.3), WAYS[way](seed=3))
    loss = tp.loss(split, *dense.text())
    loss.backward()
    return loss.item()


def refused(what):
    """The message of an error, or what came."""
    try:
        return f"no error: {REFUSED[what]()}"
    except ValueError as error:
        return str(error)


def one_more(x):
    """A shape that the ranks do not divide."""
    return tp.scattered(torch.ones(2, x), 1)


REFUSED = {
    "heads": lambda: tp.Attention(
        gpt.Attention(gpt.GPTConfig(n_embd=20, n_head=5)), tp.Replicated()
    ),
    "width": lambda: tp.MLP(
        gpt.MLP(gpt.GPTConfig(n_embd=4, n_head=1)), tp.Replicated()
    ),
    "keys": lambda: tp.GroupedAttention(dense.grouped(6, 2), tp.Replicated()),
    "queries": lambda: tp.GroupedAttention(
        dense.grouped(4, 2), tp.Replicated()
    ),
    "vocab": lambda: tp.TensorGPT(dense.model(vocab_size=2)),
    "gathered": lambda: tp.cross_entropy(
        torch.zeros(3, 8), torch.zeros(3, dtype=torch.int64), 8
    ),
    "targets": lambda: tp.cross_entropy(
        torch.zeros(3, 3), torch.tensor([0, 9, -100]), 9
    ),
    "ignored": lambda: tp.cross_entropy(
        torch.zeros(3, 3), torch.tensor([0, -1, -100]), 9
    ),
    "shape": lambda: tp.cross_entropy(
        torch.zeros(3, 3), torch.zeros(2, dtype=torch.int64), 9
    ),
    "length": lambda: tp.TensorGPT(dense.model(), tp.Pieces())(
        torch.zeros(1, 5, dtype=torch.int64)
    ),
    "scattered": lambda: one_more(5),
    "model": lambda: tp.TensorGPT(gpt.GPT1(dense.CONFIG)),
    "ids": lambda: tp.TensorGPT(dense.model())(torch.tensor([[29]])),
    "weights": lambda: tp.TensorGPT(
        dense.stirred(dense.model(), seed=dist.get_rank())
    ),
    "others": lambda: tp.TensorGPT(dense.model())(
        torch.tensor([[3, 1 + (dist.get_rank() == 2)]])
    ),
    "longer": lambda: tp.TensorGPT(dense.model())(
        torch.ones(1, 4 + dist.get_rank(), dtype=torch.int64)
    ),
    "long": lambda: tp.TensorGPT(dense.model())(
        torch.zeros(1, 18, dtype=torch.int64)
    ),
    "gradients": lambda: tp.gradient_norm(
        tp.Row(gpt.Conv1D(3, 1), tp.Replicated())
    ),
}


def impossible():
    """An error that nobody catches."""
    REFUSED["heads"]()


GROUPED = {  # ranks: heads, and key heads
    1: [(6, 2)],
    2: [(6, 2)],
    3: [(6, 3), (6, 1)],
    4: [(4, 2), (12, 1)],
}
SCALES = (1.0, 300.0)
EDGES = [0, 2, 3, 4, 5, 6, -100, 1]  # first and last of every share


def everything(ranks):
    """All comparisons at one number of ranks, in one go."""
    said = {}
    for way in WAYS:
        for name in PARTS:
            said[name, way] = part(name, way)
        said["model", way] = model(way)
        said["short", way] = model(way, length=4 if ranks == 4 else 6)[0]
        said["embedding", way] = embedded(way)
        for job in GROUPED[ranks]:
            said["grouped", *job, way] = grouped(*job, way)
    for scale in SCALES:
        said["vocabulary", scale] = vocabulary(7, EDGES, scale)
    return said


def steps():
    """What training for some steps comes to, on two ranks."""
    said = {}
    for way in WAYS:
        said["apart", way] = same_everywhere(way)
        said["trained", way] = trained(way)
        for dtype in (torch.float32, torch.bfloat16):
            said[dtype, way] = model(way, dtype=dtype)[0]
        said["dropout", way] = with_dropout(way)
        for seed in (5, 6):
            said["dropped", way, seed] = dropped(way, seed)
    said["nan"] = vocabulary(5, [-100] * 3, 1.0)
    said["norm"] = norm_by_hand()
    said["operators"] = operators()
    return said


def meshed():
    """Four ranks as two copies of two, each with a text of its own."""
    groups = [dist.new_group([0, 1]), dist.new_group([2, 3])]
    copy = dist.get_rank() // 2
    group, said = groups[copy], {}
    for way, kind in WAYS.items():
        split = tp.TensorGPT(dense.model(), kind(group))
        loss = tp.loss(split, *dense.text(seed=10 + copy))
        loss.backward()
        found = {"loss": loss.detach()}
        found["norm"] = tp.gradient_norm(split, group)
        said[way] = arrays(found | tp.whole(split, group, gradients=True))
    ways = tp.Replicated(group)
    keys = tp.GroupedAttention(dense.grouped(4, 1), ways)
    x, weights = dense.rows(seed=10 + copy)
    (keys(x, still) * weights).sum().backward()
    said["grouped"] = arrays(tp.whole(keys, group, gradients=True))
    return said


def refusals():
    """All messages."""
    return {what: refused(what) for what in REFUSED}
