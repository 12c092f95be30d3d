from singer_martech.report.command import main

main(prog_name="singer-martech-report")
