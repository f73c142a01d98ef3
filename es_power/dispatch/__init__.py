"""The only code that acts or appends a decision."""
