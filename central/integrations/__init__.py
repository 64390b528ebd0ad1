"""Which systems the centre talks to, and what they hand in."""
