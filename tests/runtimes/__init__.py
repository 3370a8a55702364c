"""The real runtimes of the three clouds, started as processes and spoken to as their platforms would."""
