from target_monetate.target import TargetMonetate

TargetMonetate.cli()
