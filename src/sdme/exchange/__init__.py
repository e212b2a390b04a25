"""Transforms in the files of other programs: :mod:`sdme.exchange.formats` knows them all."""
