"""The seal: what shows, by signatures that left the machine, that nobody changed the log since."""
