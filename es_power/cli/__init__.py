"""The command line: arguments in, rows and exit codes out; what it answers, `import es_power` answers too."""

from es_power.cli.program import app, main

__all__ = ["app", "main"]
