"""A quick training step: a block as one operation, its gradient by hand."""

from llmnotes.transformer.training_step.fused import FusedBlock, FusedGPT
from llmnotes.transformer.training_step.fused_recipe import (
    FusedRecipe,
    FusedRecipeBlock,
)
