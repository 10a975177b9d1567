r"""Gated recurrent unit: a state that is kept or rewritten, unit by unit.

    x, h                  = x_t, h_{t-1}  (input and state; vectors are rows)
    reset, update         = r, z  (gates, between 0 and 1)
    candidate             = n, the papers' h̃  (what the unit would become)
    weight_ih, weight_hh  = [U_r; U_z; U_n], [W_r; W_z; W_n]  (stacked rows)
    projected             = x_t Uᵀ + b  (all three parts, side by side)

Sources
- Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder
  for Statistical Machine Translation", arXiv 1406.1078.
- Chung et al. 2014, "Empirical Evaluation of Gated Recurrent Neural Networks
  on Sequence Modeling", arXiv 1412.3555.
- Feng et al. 2024, "Were RNNs All We Needed?", arXiv 2410.01201: minGRU.
"""

import torch
import torch.nn.functional as F
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.checks import check_sizes, checked
from llmnotes.precision import without_autocast
from llmnotes.sequence.rnn import Recurrent, State
from llmnotes.sequence.rnn.checks import check_gates, check_width
from llmnotes.sequence.rnn.linear import linear_scan


def gru_step(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step; the reset gate acts *after* the matrix, as in cuDNN."""
    x_r, x_z, x_n = projected.chunk(3, -1)
    h_r, h_z, h_n = F.linear(h, weight_hh, bias_hh).chunk(3, -1)
    reset, update = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    candidate = torch.tanh(x_n + reset * h_n)
    return torch.lerp(candidate.to(h), h, update.to(h))  # (1 - z) n + z h


def gru_step_reset_before(
    projected: Float[Tensor, "batch gates"],
    h: Float[Tensor, "batch hidden"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step; the reset gate acts on the state, *before* the matrix.

    Source: Cho et al. 2014.
    """
    size = 2 * h.shape[-1]  # rows of the two gates
    x_gates, x_n = projected[:, :size], projected[:, size:]
    h_gates = F.linear(h, weight_hh[:size], bias_hh[:size])
    reset, update = torch.sigmoid(x_gates + h_gates).chunk(2, -1)
    h_n = F.linear(reset * h, weight_hh[size:], bias_hh[size:])
    candidate = torch.tanh(x_n + h_n)
    return torch.lerp(candidate.to(h), h, update.to(h))


@checked
def gru_cell(
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    weight_ih: Float[Tensor, "gates input"],
    weight_hh: Float[Tensor, "gates hidden"],
    bias_ih: Float[Tensor, "gates"],
    bias_hh: Float[Tensor, "gates"],
) -> Float[Tensor, "batch hidden"]:
    """One step from the input itself, equal to `nn.GRUCell`."""
    check_gates(3, h, weight_ih)
    return gru_step(F.linear(x, weight_ih, bias_ih), h, weight_hh, bias_hh)


class GRUScan(torch.autograd.Function):
    """`gru_step` at every position; backwards as derived by hand."""

    @staticmethod
    @without_autocast
    def forward(ctx, projected, h, weight_hh, bias_hh):
        """Keep of each step what the way back needs."""
        kept, states = [], [h]
        size = 2 * h.shape[1]
        for at_t in projected.unbind(0):
            stacked = F.linear(h, weight_hh, bias_hh)
            gates = torch.sigmoid(at_t[:, :size] + stacked[:, :size])
            reset, update = gates.chunk(2, 1)
            h_n = stacked[:, size:]
            candidate = torch.tanh(at_t[:, size:] + reset * h_n)
            h = torch.lerp(candidate, h, update)
            kept.append((reset, update, h_n, candidate))
            states.append(h)
        states = torch.stack(states)
        kept = [torch.stack(parts) for parts in zip(*kept, strict=True)]
        ctx.save_for_backward(states[:-1], weight_hh, *kept)
        return states[1:]

    @staticmethod
    @without_autocast
    def backward(ctx, d_outputs):
        """Hand back the gradients in the order of forward's arguments.

        Raises `RuntimeError` when asked for a graph of them: what was kept
        does not know how it came to be.
        """
        if torch.is_grad_enabled():
            raise RuntimeError("GRU: got create_graph, expected one gradient")
        before, weight_hh, reset, update, h_n, candidate = ctx.saved_tensors
        to_update = (before - candidate) * update * (1 - update)
        to_candidate = (1 - update) * (1 - candidate**2)
        to_reset = h_n * reset * (1 - reset)
        d_h, d_projected, d_stacked = torch.zeros_like(before[0]), [], []
        for t in reversed(range(len(d_outputs))):
            d_h = d_h + d_outputs[t]
            d_n = d_h * to_candidate[t]
            d_gates = [d_n * to_reset[t], d_h * to_update[t]]
            d_projected.append(torch.cat([*d_gates, d_n], 1))
            d_stacked.append(torch.cat([*d_gates, d_n * reset[t]], 1))
            d_h = torch.addmm(d_h * update[t], d_stacked[-1], weight_hh)
        d_projected = torch.stack(d_projected[::-1])
        d_stacked = torch.stack(d_stacked[::-1])
        product = "length batch row, length batch column -> row column"
        d_weight_hh = einsum(d_stacked, before, product)
        return d_projected, d_h, d_weight_hh, d_stacked.sum((0, 1))


class GRU(Recurrent):
    """Layers and directions of `gru_step`, equal to `nn.GRU`."""

    gates = 3

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `gru_step`; see `Recurrent.step`."""
        return (gru_step(projected, *state, weight_hh, bias_hh),)

    def scan(
        self,
        projected: Float[Tensor, "length batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> tuple[Float[Tensor, "length batch hidden"], State]:
        """Step through time, with the gradients written by hand."""
        out = GRUScan.apply(projected, *state, weight_hh, bias_hh)
        return out, (out[-1],)


class ResetBeforeGRU(Recurrent):
    """The same parameters, read the other way; equal to no `nn.GRU`."""

    gates = 3

    def step(
        self,
        projected: Float[Tensor, "batch gates"],
        state: State,
        weight_hh: Float[Tensor, "gates hidden"],
        bias_hh: Float[Tensor, "gates"],
    ) -> State:
        """One step of `gru_step_reset_before`; see `Recurrent.step`."""
        return (gru_step_reset_before(projected, *state, weight_hh, bias_hh),)


def set_update_bias(model: GRU, bias: float) -> GRU:
    """Begin with states that last: all update gates near σ(bias).

    PyTorch adds two biases; `bias` is their sum, and the second one is 0.
    """
    hidden = model.hidden_size
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.startswith("bias"):
                update = parameter[hidden : 2 * hidden]
                update.fill_(bias if name.startswith("bias_ih") else 0.0)
    return model


class MinGRU(nn.Module):
    """A GRU whose gate and candidate do not see the state (Feng et al. 2024).

    h_t = (1 - z_t)∘h_{t-1} + z_t∘n_t, where z_t = σ(x_t U_zᵀ + b_z) and
    n_t = x_t U_nᵀ + b_n depend on the input alone: so all steps of a layer
    are one `linear_scan`, in float32 at least: in 16 bits a gate that keeps
    0.999 would keep 1. Raises `ValueError` if a size is below 1.
    """

    def __init__(self, input_size: int, hidden_size: int, num_layers: int = 1):
        super().__init__()
        check_sizes(
            input_size=input_size,
            hidden_size=hidden_size,
            num_layers=num_layers,
        )
        widths = [input_size] + [hidden_size] * (num_layers - 1)
        self.layers = nn.ModuleList(
            nn.Linear(width, 2 * hidden_size) for width in widths
        )

    @checked
    def forward(
        self, x: Float[Tensor, "batch length input"]
    ) -> tuple[
        Float[Tensor, "batch length hidden"],
        Float[Tensor, "layers batch hidden"],
    ]:
        """Return the outputs of the last layer, and the last state of all."""
        check_width(x, self.layers[0].in_features)
        last = []
        for layer in self.layers:
            both = layer(x)
            wide = torch.promote_types(both.dtype, torch.float32)
            gate, candidate = both.to(wide).chunk(2, -1)
            z = gate.sigmoid()
            x = linear_scan(1 - z, z * candidate).to(both.dtype)
            last.append(x[:, -1])
        return x, torch.stack(last)
