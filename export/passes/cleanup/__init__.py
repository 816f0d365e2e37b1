"""Names, constants, shapes, opsets: what makes a graph small and stable."""
