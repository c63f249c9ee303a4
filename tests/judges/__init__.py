"""Other programs read our exports: those of the formats' own authors. ``make judges`` runs them."""
