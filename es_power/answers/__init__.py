"""Answers as people and machines read them: a row for each thing, with the same keys whichever way one asks."""
