"""The Transformer, from attention to GPT-2."""
