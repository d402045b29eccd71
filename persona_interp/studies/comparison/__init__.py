"""Ways to a direction for a trait, compared on the same axes and at the same strength."""
