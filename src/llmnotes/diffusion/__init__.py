"""Pictures from noise: diffusion, CLIP and their children."""
