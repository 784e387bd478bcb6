"""The verbs as pure functions on a draft: each checks everything first or raises a RefusedError; no I/O anywhere."""
