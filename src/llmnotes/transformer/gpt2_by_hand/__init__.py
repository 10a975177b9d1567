"""GPT-2 by hand: its tensors, its calls, and kernels that execute them."""

from llmnotes.transformer.gpt2_by_hand.calls import (
    At,
    Call,
    backward,
    forward,
    run,
    update,
    update_of,
)
from llmnotes.transformer.gpt2_by_hand.files import (
    from_gpt,
    initial,
    read_bin,
    read_folder,
    to_gpt,
    write_bin,
    write_folder,
)
from llmnotes.transformer.gpt2_by_hand.layout import (
    Tensors,
    activation_shapes,
    padded,
    parameter_shapes,
)
from llmnotes.transformer.gpt2_by_hand.model import GPT2
from llmnotes.transformer.gpt2_by_hand.training import (
    mean_loss,
    sample,
    steps,
)
