"""The embedded model below its provider: its weights on disk, and the child process that runs it."""
