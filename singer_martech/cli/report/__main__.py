from singer_martech.cli.report.command import main

main(prog_name="singer-martech-report")
