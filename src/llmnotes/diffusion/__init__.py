"""Pictures from noise: text-to-image models, small enough to train."""
