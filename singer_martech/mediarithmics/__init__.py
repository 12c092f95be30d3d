"""A client for the mediarithmics API, which two plugins share.

It is independent of Singer::

    from singer_martech.mediarithmics.client import MediarithmicsClient
    from singer_martech.mediarithmics.exports import Exports

    client = MediarithmicsClient("api:…")
    for export in Exports(client, organisation_id="1426").all():
        print(export.id, export.name)

Nothing is imported here: each plugin loads only what it uses.
"""
