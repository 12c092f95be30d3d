"""Maintenance of the project: releases, generated documentation, screenshots."""
