"""From GPT-2 to the open models of today, one change at a time."""
