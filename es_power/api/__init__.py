"""The HTTP API: what the command line answers, answered by the same functions. No logic, no wire model elsewhere."""
