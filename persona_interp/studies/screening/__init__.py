"""Screening of training data at scale: projections of every sample, kept in shards that a killed run goes on from."""
