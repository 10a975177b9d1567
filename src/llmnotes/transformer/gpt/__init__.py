"""GPT: the model, its files, sampling, and what counting can do."""

from llmnotes.transformer.gpt.files import (
    ASSUMED,
    BUFFERS,
    config_json,
    load_gpt2,
    read_config,
    save_gpt2,
)
from llmnotes.transformer.gpt.model import (
    GPT,
    GPT1,
    GPT_1,
    GPT_2_LARGE,
    GPT_2_MEDIUM,
    GPT_2_SMALL,
    GPT_2_XL,
    MINIGPT,
    MLP,
    NANOGPT_CPU,
    Attention,
    Block,
    Conv1D,
    GPTConfig,
    PostNormBlock,
    gelu,
    initialise,
    parameters,
)
from llmnotes.transformer.gpt.sampling import (
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    left_padded,
    next_distribution,
    stream,
)
