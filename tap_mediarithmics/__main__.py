from tap_mediarithmics.tap import TapMediarithmics

TapMediarithmics.cli()
