from target_mediarithmics.target import TargetMediarithmics

TargetMediarithmics.cli()
