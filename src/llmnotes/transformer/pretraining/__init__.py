"""Pretraining: a recipe that learns more from the same budget, and Muon."""

from llmnotes.transformer.pretraining.muon import (
    Muon,
    MuonAdamW,
    orthogonalise,
)
from llmnotes.transformer.pretraining.recipe import (
    Recipe,
    RecipeBlock,
    RecipeConfig,
    shifted_norm,
    unit_heads,
)
