"""A back-fill in shards: many machines run a part each, and one job goes on from its end.

The plan is for any scheduler; nothing here runs anything. A shard is a `meltano run` of its own,
with a state of its own.
"""
