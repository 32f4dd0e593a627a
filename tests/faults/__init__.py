"""Each fault, hole and misuse that this package survives, as a user meets it."""
