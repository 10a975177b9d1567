"""Small scans and models of random numbers."""

import torch
import torch.nn.functional as F
import transformers as hf

from tests.models.llama.tiny import scatter

VOCAB = 31
SHAPE = dict(
    vocab_size=VOCAB, hidden_size=12, state_size=5, num_hidden_layers=2
)
MAMBA = {
    "tied": {},
    "untied, with biases": dict(
        tie_word_embeddings=False,
        use_bias=True,
        use_conv_bias=False,
        conv_kernel=3,
        expand=3,
        time_step_rank=4,
    ),
}
HEADS = dict(num_heads=6, head_dim=4, n_groups=2, chunk_size=4)
MAMBA2 = {
    "two groups": {},
    "tied, one group, biases": dict(
        tie_word_embeddings=True,
        use_bias=True,
        use_conv_bias=False,
        n_groups=1,
        conv_kernel=3,
        chunk_size=3,
    ),
    "limited": dict(time_step_limit=(0.005, 0.05), n_groups=3),
}
FAMILY = {("mamba", name): SHAPE | change for name, change in MAMBA.items()}
FAMILY |= {
    ("mamba2", name): SHAPE | HEADS | change for name, change in MAMBA2.items()
}
NOBODY = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
THEIRS = {
    "mamba": (hf.MambaConfig, hf.MambaForCausalLM),
    "mamba2": (hf.Mamba2Config, hf.Mamba2ForCausalLM),
}


def theirs(name):
    """Hugging Face's model of a shape, with numbers everywhere."""
    config, build = THEIRS[name[0]]
    torch.manual_seed(0)
    return scatter(build(config(**FAMILY[name], **NOBODY)))


def ids(length=11, batch=2, seed=1):
    draws = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (batch, length), generator=draws)


def inputs(length, width=5, size=3, batch=2, dtype=torch.float64):
    """x, Δ, A, B, C of a scan."""
    draws = torch.Generator().manual_seed(length)

    def normal(*shape):
        return torch.randn(shape, generator=draws, dtype=torch.float64)

    found = (
        normal(batch, length, width),
        F.softplus(normal(batch, length, width) - 1),
        -normal(width, size).exp(),
        normal(batch, length, size),
        normal(batch, length, size),
    )
    return [x.to(dtype) for x in found]


def marked(length, batch=2):
    """Where texts begin, and a state before them."""
    draws = torch.Generator().manual_seed(length + 1)
    return torch.rand(batch, length, generator=draws) < 0.3


def graded(scan, given, **options):
    """All that a scan returns, and the gradient of all it was given."""
    leaves = [x.detach().clone().requires_grad_() for x in given]
    options = {
        k: v.detach().clone().requires_grad_() if v.is_floating_point() else v
        for k, v in options.items()
    }
    found = scan(*leaves, **options)
    parts = found if isinstance(found, tuple) else (found,)
    sum(x.sin().sum() for x in parts).backward()
    leaves += [v for v in options.values() if v.requires_grad]
    return [*parts, *(x.grad for x in leaves)]
