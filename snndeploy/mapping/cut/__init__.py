"""Groups cut into boxes that each fit on a core, and packed onto cores."""
