"""Style vectors of a corpus: how well each layer tells its styles apart, and steering."""
