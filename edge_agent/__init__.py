"""One station: it sells with no network and tells the centre later."""
