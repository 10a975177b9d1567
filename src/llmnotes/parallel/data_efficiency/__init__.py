"""What to train on: duplicates, filters, mixtures, order, packing, laws.

Nothing is imported here: what trains depends on `runs` alone, and a run that
is kept is not lost when another module changes.
"""
