"""The 23 tensors and all gradients of a GPT, as torch's autograd has them.

Every intermediate result keeps its gradient. Only `layer_norm`'s mean and
rstd have none of their own: nobody takes a gradient by them.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange

from llmnotes.transformer.gpt2_by_hand import Tensors, activation_shapes

PER_LAYER = (
    "ln1 ln1_mean ln1_rstd qkv atty preatt att attproj residual2 ln2 "
    "ln2_mean ln2_rstd fch fch_gelu fcproj residual3"
).split()


def norm(x, layer, found, name):
    found[f"{name}_mean"] = x.mean(-1)
    found[f"{name}_rstd"] = (x.var(-1, correction=0) + layer.eps).rsqrt()
    found[name] = F.layer_norm(x, x.shape[-1:], layer.weight, layer.bias)
    return found[name]


def attend(qkv, heads, found):
    q, k, v = rearrange(qkv, "b t (x h d) -> x b h t d", x=3, h=heads)
    past = torch.ones(qkv.shape[1], qkv.shape[1]).tril().bool()
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    found["preatt"] = scores.masked_fill(~past, 0)
    seen = found["preatt"].masked_fill(~past, -torch.inf)
    found["att"] = seen.softmax(-1)
    return rearrange(found["att"] @ v, "b h t d -> b t (h d)")


def block(x, layer, found):
    found["qkv"] = layer.attn.c_attn(norm(x, layer.ln_1, found, "ln1"))
    found["atty"] = attend(found["qkv"], layer.attn.heads, found)
    found["attproj"] = layer.attn.c_proj(found["atty"])
    found["residual2"] = x + found["attproj"]
    ln2 = norm(found["residual2"], layer.ln_2, found, "ln2")
    found["fch"] = layer.mlp.c_fc(ln2)
    found["fch_gelu"] = F.gelu(found["fch"], approximate="tanh")
    found["fcproj"] = layer.mlp.c_proj(found["fch_gelu"])
    found["residual3"] = found["residual2"] + found["fcproj"]
    return found["residual3"]


def activations(model, inputs, targets):
    """{name: tensor, or a list of one for each layer}, part of a graph."""
    inputs, targets = (torch.from_numpy(x).long() for x in (inputs, targets))
    parts, top, layers = model.transformer, {}, []
    x = parts.wte(inputs) + parts.wpe.weight[: inputs.shape[1]]
    top["encoded"] = x
    for layer in parts.h:
        layers.append({})
        x = block(x, layer, layers[-1])
    logits = norm(x, parts.ln_f, top, "lnf") @ parts.wte.weight.T
    top["logits"], top["probs"] = logits, logits.softmax(-1)
    losses = F.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), reduction="none"
    )
    top["losses"] = losses.view(targets.shape)
    return top | {name: [one[name] for one in layers] for name in PER_LAYER}


def arranged(config, found, shape, dtype):
    """These tensors as an arena of ours; a missing one is left zero."""
    made = Tensors(activation_shapes(config, *shape), dtype)
    for name, value in found.items():
        if isinstance(value, list):
            for place, one in zip(made[name], value, strict=True):
                if one is not None:
                    place[:] = one.detach().numpy()
        elif value is not None:
            made[name][:] = value.detach().numpy()
    return made


def step(model, inputs, targets):
    """(loss, activations, their gradients); parameters have `.grad`."""
    model.zero_grad()
    found = activations(model, inputs, targets)
    flat = [
        x
        for value in found.values()
        for x in (value if isinstance(value, list) else [value])
    ]
    for x in flat:
        x.retain_grad()
    loss = found["losses"].mean()
    loss.backward()
    grads = {
        name: [x.grad for x in value]
        if isinstance(value, list)
        else value.grad
        for name, value in found.items()
    }
    dtype = inputs_dtype(model)
    shape = inputs.shape
    return (
        loss.item(),
        arranged(model.config, found, shape, dtype),
        arranged(model.config, grads, shape, dtype),
    )


def inputs_dtype(model):
    """The numpy precision of a model."""
    return next(model.parameters()).detach().numpy().dtype
