"""The mediarithmics API, which two plugins speak: its wire, and nothing of Singer.

It can be used alone::

    from singer_martech.mediarithmics.client import Connection
    from singer_martech.mediarithmics.exports import Exports

    connection = Connection("api:…")
    for export in Exports(connection, organisation_id="1426").all():
        print(export.id, export.name)

Nothing is imported here, so that each plugin loads only what it uses.
"""
