"""Headers that stand in for the compression libraries of the FST writer."""
