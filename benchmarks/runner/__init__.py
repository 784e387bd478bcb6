"""The runner of the benchmarks: scenarios by name, contestants in processes of their own that take turns, records, a report."""
