"""A back-fill in shards: many machines run a part each, and one job continues from its end.

The plan works with any scheduler; nothing here runs a pipeline. A shard is a `meltano run` with
a state of its own.
"""
