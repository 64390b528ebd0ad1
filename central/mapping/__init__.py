"""Field mapping: records of one system become records of another, by a declaration that cannot run code. Pure."""
