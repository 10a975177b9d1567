"""A model that exists, made into the one that is wanted."""
