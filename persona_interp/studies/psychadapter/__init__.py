"""PsychAdapters: training one, and what it does."""
