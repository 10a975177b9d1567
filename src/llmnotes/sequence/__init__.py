"""Recurrent networks, from the plain RNN to attention between two of them."""
