from target_mona.target import TargetMona

TargetMona.cli()
