"""What everything else rests on: derivatives and text as numbers."""
