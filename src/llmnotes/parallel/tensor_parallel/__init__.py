"""One matrix on several ranks: tensor parallelism, from f and g to a GPT."""

from llmnotes.parallel.tensor_parallel.counts import (
    MEGATRON_1,
    MEGATRON_1_LENGTH,
    MEGATRON_2,
    MEGATRON_2_LENGTH,
    VOCABULARY,
    parameters,
    traffic,
)
from llmnotes.parallel.tensor_parallel.grouped import GroupedAttention
from llmnotes.parallel.tensor_parallel.layouts import (
    Everywhere,
    Repeated,
    Split,
    gradient_norm,
    layouts,
    parts_of_all,
    whole,
)
from llmnotes.parallel.tensor_parallel.model import (
    MLP,
    Attention,
    Block,
    Column,
    Dropout,
    LayerNorm,
    Row,
    TensorGPT,
    loss,
    step,
)
from llmnotes.parallel.tensor_parallel.operators import (
    copied,
    gathered,
    scattered,
    summed,
)
from llmnotes.parallel.tensor_parallel.vocabulary import (
    Embedding,
    cross_entropy,
    tokens_of,
)
from llmnotes.parallel.tensor_parallel.ways import Draws, Pieces, Replicated
