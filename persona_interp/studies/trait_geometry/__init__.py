"""Whether different models place the same traits at the same angles to each other."""
