"""The recipe's block as one operation on the CPU, like `fused` for GPT's.

Legend: as in `fused`; mix = λ of the token shift, inv = 1/√(mean square).

Sources
- Zhang and Sennrich 2019, "RMSNorm", arXiv 1910.07467, eq. 4.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from llmnotes.precision import without_autocast
from llmnotes.transformer.pretraining.recipe import Recipe, RecipeBlock
from llmnotes.transformer.training_step.fast import (
    norm_gradient_loop,
    norm_loop,
    relu_squared_loop,
)
from llmnotes.transformer.training_step.fused import (
    array,
    attend,
    attend_gradient,
    bend,
    listened,
    plain_numbers,
    quick,
    untouched,
)


def norm(x, mix):
    """`shifted_norm` of x: (y, inv)."""
    y, inv = torch.empty_like(x), x.new_empty(x.shape[:2])
    norm_loop(array(x), array(mix), array(y), array(inv))
    return y, inv


def norm_gradient(dy, x, shape, mix, inv):
    """(dx as rows, dmix) of `norm`, for x and dy that may be rows too."""
    dx, dmix = torch.empty(shape), torch.zeros_like(mix)
    x, dy = x.view(shape), dy.view(shape)
    norm_gradient_loop(*(array(t) for t in (x, mix, inv, dy, dx, dmix)))
    return dx.view(-1, shape[-1]), dmix


def linear_gradient(dy, x, weight):
    """(dx, dweight) of xWᵀ, all of them matrices."""
    return torch.mm(dy, weight), torch.mm(dy.T, x)


class RecipeFunction(torch.autograd.Function):
    """The recipe's block, forward and backward.

    Parameters: mix_1, mix_2, c_attn, c_proj, c_fc, c_out.
    """

    @staticmethod
    @without_autocast
    def forward(context, options, x, *parameters):
        """Read the residual stream twice, add to it twice."""
        mix_1, mix_2, w_z, w_o, w_h, w_y = parameters
        heads, turn, unit, loop = options
        rows = x.view(-1, x.shape[-1])
        n1, i1 = norm(x, mix_1)
        n1 = n1.view(rows.shape)
        z = torch.mm(n1, w_z.T).view(*x.shape[:2], -1)
        merged, kept = attend(z, heads, turn, unit)
        merged = merged.view(rows.shape)
        middle = torch.addmm(rows, merged, w_o.T)
        n2, i2 = norm(middle.view(x.shape), mix_2)
        n2 = n2.view(rows.shape)
        y, slope = bend(torch.mm(n2, w_h.T), loop)
        context.save_for_backward(
            *parameters, x, n1, i1, merged, middle, n2, i2, y, slope, *kept
        )
        context.options = options
        return torch.addmm(middle, y, w_y.T).view(x.shape)

    @staticmethod
    @without_autocast
    def backward(context, dout):
        """Walk back through `forward`, line by line; once, as in `fused`."""
        if torch.is_grad_enabled():
            raise RuntimeError("GPT: got create_graph, expected one gradient")
        saved, (heads, turn, unit, _) = context.saved_tensors, context.options
        mix_1, mix_2, w_z, w_o, w_h, w_y = saved[:6]
        x, n1, i1, merged, middle, n2, i2, y, slope = saved[6:15]
        dout = dout.reshape(n1.shape)
        dy, dw_y = linear_gradient(dout, y, w_y)
        dn2, dw_h = linear_gradient(dy.mul_(slope), n2, w_h)
        dmiddle, dmix_2 = norm_gradient(dn2, middle, x.shape, mix_2, i2)
        dmiddle = dmiddle.add_(dout)
        dmerged, dw_o = linear_gradient(dmiddle, merged, w_o)
        dmerged = dmerged.view(x.shape)
        dz = attend_gradient(dmerged, saved[15:], heads, turn, unit)
        dn1, dw_z = linear_gradient(dz.view(len(n1), -1), n1, w_z)
        dx, dmix_1 = norm_gradient(dn1, x, x.shape, mix_1, i1)
        dx = dx.add_(dmiddle).view(x.shape)
        return None, dx, dmix_1, dmix_2, dw_z, dw_o, dw_h, dw_y


NAMES = "c_attn", "c_proj", "c_fc", "c_out"
PARTS = dict.fromkeys(NAMES, (nn.Linear, {}))


class FusedRecipeBlock(RecipeBlock):
    """`RecipeBlock` as one operation: same parameters and numbers.

    A subclass with another `bend` has another `loop` too, or none.
    """

    loop = staticmethod(relu_squared_loop)

    def forward(
        self,
        x: Float[Tensor, "batch length d_model"],
        turn: Float[Tensor, "length half"],
    ) -> Float[Tensor, "batch length d_model"]:
        """Read the residual stream twice, add to it twice."""
        fits = quick(x) and not listened()
        if not fits or not untouched(self, PARTS):
            return super().forward(x, turn)
        layers = self.c_attn, self.c_proj, self.c_fc, self.c_out
        weights = [self.mix_1, self.mix_2, *(y.weight for y in layers)]
        biased = any(layer.bias is not None for layer in layers)
        if biased or not all(map(plain_numbers, weights)):
            return super().forward(x, turn)
        waves = array(turn.cos()), array(turn.sin())
        options = self.heads, waves, self.unit, self.loop
        return RecipeFunction.apply(options, x.contiguous(), *weights)


class FusedRecipe(Recipe):
    """`Recipe`, faster on the CPU: same state dict, logits and gradients."""

    block = FusedRecipeBlock
