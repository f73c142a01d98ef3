"""Looking after the log itself: what people have erased from it, copied, put back and put away."""
