"""Opinions: read models that are folds over the log, and their queries. A projection never acts."""
