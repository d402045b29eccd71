"""Human raters of a run: a blind sheet of its answers, the ratings read back, and how each judge agrees with them."""
