"""Figures drawn from saved results: `plot_x(frame, ax) -> Axes` never computes a statistic."""
