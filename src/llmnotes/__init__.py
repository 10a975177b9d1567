"""Large language models, every line proved: the code of the llmnotes book."""
