"""Style vectors of a corpus: told apart at every layer, steered, and compared with random directions."""
