"""Documents on their way to other systems: each effect once, whatever dies when."""
