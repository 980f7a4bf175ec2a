"""Jobs: their stages in order, what they share, and how their runs are opened and resumed."""
