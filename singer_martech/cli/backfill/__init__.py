"""Back-fill in shards: each machine runs a part, and the regular job continues from the end.

The plan works with any scheduler; this package runs no pipeline. A shard is a `meltano run` with
its own state.
"""
